/** The testbed: the product with engines of its own, and a proxy before each engine and service that injects faults. */

import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import postgres from 'postgres'
import type { Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { createEngineProcesses } from '../support/engine-processes.ts'
import { createProduct, type ServiceName, startWithinMs } from '../support/product.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

export const targets = ['postgres', 'redis', 'kafka', 'user-svc', 'session-svc'] as const
export type Target = (typeof targets)[number]

/** The faults of a target; `backends killed` is for PostgreSQL alone. */
export type Fault =
  | 'absent at start'
  | 'killed'
  | 'frozen'
  | 'slow'
  | 'resetting'
  | 'back and empty'
  | 'unresponsive'
  | 'backends killed'

export type Testbed = Awaited<ReturnType<typeof createTestbed>>

const proxyFaults = { slow: 'slow', resetting: 'reset', unresponsive: 'unresponsive' } as const
const answering: ServiceName[] = ['session-svc', 'user-svc', 'gateway']
// A gateway is ready once it has seen user-svc ready.
const readyWithout: Record<Target, ServiceName[]> = {
  postgres: ['session-svc'],
  redis: [],
  kafka: answering,
  'user-svc': ['session-svc'],
  'session-svc': []
}
const isEngine = (target: Target) => target !== 'user-svc' && target !== 'session-svc'

export interface TestbedOptions {
  /** Running brokers, for tests without faults of Kafka. Without this option, the testbed starts a broker. */
  brokers?: string | undefined
  /** Overrides the configuration of the services. */
  env?: Record<string, string>
}

/** Starts engines, proxies and all services; the test's end stops them. */
export async function createTestbed(t: Pick<Test, 'teardown'>, { brokers, env = {} }: TestbedOptions = {}) {
  const addresses = Object.fromEntries(targets.map((name) => [name, { host: '127.0.0.1', port: 0 }]))
  const address = (target: Target) => addresses[target] as { host: string; port: number }
  const proxies = new Map(
    await Promise.all(targets.map(async (name) => [name, await startTcpProxy(0, address(name))] as const))
  )
  const proxy = (target: Target) => proxies.get(target) as NonNullable<ReturnType<typeof proxies.get>>
  t.teardown(async () => void (await Promise.all([...proxies.values()].map(({ close }) => close()))))
  const engines = await createEngineProcesses(t, proxy('kafka').port)
  for (const name of ['postgres', 'redis', 'kafka'] as const) address(name).port = engines[name].port

  const through = (url: string, target: Target) => {
    const changed = new URL(url)
    changed.host = `127.0.0.1:${proxy(target).port}`
    return changed.href
  }
  const [postgresUrl, redisUrl] = await Promise.all([
    engines.postgres.start(),
    engines.redis.start(),
    ...(brokers === undefined ? [engines.kafka.start()] : [])
  ])
  const id = randomBytes(4).toString('hex')
  const topics = { logs: `logs-${id}`, events: `account-events-${id}` }
  const product = await createProduct(t, {
    USER_SVC_POSTGRES_URL: through(postgresUrl as string, 'postgres'),
    REDIS_URL: through(redisUrl as string, 'redis'),
    KAFKA_BROKERS: brokers ?? `127.0.0.1:${proxy('kafka').port}`,
    KAFKA_LOGS_TOPIC: topics.logs,
    KAFKA_ACCOUNT_EVENTS_TOPIC: topics.events,
    LOG_SINK_GROUP: id,
    RPC_USER_SVC_URL: `http://127.0.0.1:${proxy('user-svc').port}`,
    RPC_SESSION_SVC_URL: `http://127.0.0.1:${proxy('session-svc').port}`,
    ...env
  })
  address('user-svc').port = product.ports.users
  address('session-svc').port = product.ports.sessions
  const database = postgres(postgresUrl as string, { max: 1, onnotice: () => {}, connect_timeout: 5 })
  t.teardown(() => database.end({ timeout: 1 }))
  await product.startAll('log-sink')
  /** The instances (a field of their log lines) of processes that were killed. */
  const killed = new Set<string>()

  const livez = (name: ServiceName) =>
    product.ops(name, '/livez').then(
      ({ ok }) => ok,
      () => false
    )

  async function startService(name: ServiceName): Promise<void> {
    product.start(name)
    await until(`${name} is alive`, () => livez(name), startWithinMs)
    const port = { 'user-svc': product.ports.users, 'session-svc': product.ports.sessions }[name as string]
    if (port !== undefined) await until(`${name} listens`, () => listens(port))
  }

  async function kill(target: Target): Promise<void> {
    if (isEngine(target)) await engines[target as 'redis'].kill()
    else {
      const instance = /.*"instance":"([^"]+)"/s.exec(product.output(target as ServiceName))?.[1]
      if (instance !== undefined) killed.add(instance)
      await product.stop(target as ServiceName, 'SIGKILL')
    }
    await proxy(target).become('refuse')
  }

  /** Resolves when the target answers. Its proxy passes connections only then; a broker answers through its proxy only. */
  async function start(target: Target): Promise<void> {
    if (target === 'kafka') await proxy('kafka').become('pass')
    if (isEngine(target)) await engines[target as 'redis'].start()
    else await startService(target as ServiceName)
    await proxy(target).become('pass')
  }

  function freeze(target: Target, frozen: boolean): void {
    if (!isEngine(target)) product.process(target as ServiceName)?.kill(frozen ? 'SIGSTOP' : 'SIGCONT')
    else if (frozen) engines[target as 'redis'].freeze()
    else engines[target as 'redis'].thaw()
  }

  /** Restarts all services while the target is down. */
  async function startWithout(target: Target): Promise<void> {
    const codes = await Promise.all(answering.map((name) => product.stop(name)))
    if (codes.some((code) => code !== 0)) throw new Error(`exit codes of the services: ${codes}`)
    if (isEngine(target)) await kill(target)
    else await proxy(target).become('refuse')
    await Promise.all(answering.filter((name) => name !== target).map(startService))
    for (const name of readyWithout[target]) await until(`${name} is ready`, () => product.isReady(name), startWithinMs)
  }

  async function startEmpty(target: Target): Promise<void> {
    await kill(target)
    if (isEngine(target)) engines[target as 'redis'].empty()
    await start(target)
    if (target !== 'kafka') return
    // The messages of log-sink and user-svc tell an operator to do this when the topics were deleted.
    rmSync(join(product.env.LOG_SINK_DIRECTORY as string, `topic-${topics.logs}.json`), { force: true })
    await database`delete from topics`
  }

  return {
    product,
    database,
    killed,
    /** Secrets that no log line may contain. */
    secrets: [product.rpcToken, ...[postgresUrl, redisUrl].map((url) => new URL(url as string).password)],

    /** Resolves when the fault is active; for `back and empty` and `backends killed`, when the target answers again. */
    async inject(target: Target, fault: Fault): Promise<void> {
      if (fault === 'absent at start') await startWithout(target)
      else if (fault === 'killed') await kill(target)
      else if (fault === 'frozen') freeze(target, true)
      else if (fault === 'back and empty') await startEmpty(target)
      else if (fault === 'backends killed') {
        await database`select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'user-svc'`
      } else await proxy(target).become(proxyFaults[fault])
    },

    /** Resolves when the target answers again. */
    async heal(target: Target, fault: Fault): Promise<void> {
      if (fault === 'absent at start' || fault === 'killed') await start(target)
      else if (fault === 'frozen') freeze(target, false)
      else if (fault in proxyFaults) await proxy(target).become('pass')
    },

    /** The services that have exited, each with the end of its output. */
    exits: () =>
      answering
        .filter((name) => (product.process(name)?.exitCode ?? null) !== null)
        .map((name) => `${name} has exited:\n${product.output(name).slice(-4000)}`)
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
