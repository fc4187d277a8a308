/** The parts of the testbed: engines, services, and a proxy before each. */

import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import type { Test } from 'tap'
import { createEngineProcesses } from '../support/engine-processes.ts'
import { createMailServer, mailSettings } from '../support/mail-server.ts'
import { createProduct } from '../support/product.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { type Target, targets } from './targets.ts'

type Teardown = Pick<Test, 'teardown'>
export type Parts = Awaited<ReturnType<typeof startParts>>

export interface TestbedOptions {
  /** Running brokers, for tests without faults of Kafka. Without this option, the testbed starts a broker. */
  brokers?: string | undefined
  /** Overrides the configuration of the services. */
  env?: Record<string, string>
}

/** Starts engines, proxies and all services; the test's end stops them. */
export async function startParts(t: Teardown, { brokers, env = {} }: TestbedOptions) {
  const { address, proxy } = await startProxies(t)
  const engines = { ...(await createEngineProcesses(t, proxy('kafka').port)), mail: await createMailServer(t) }
  for (const name of ['postgres', 'redis', 'kafka', 'mail'] as const) address(name).port = engines[name].port

  const through = (url: string, target: Target) => {
    const changed = new URL(url)
    changed.host = `127.0.0.1:${proxy(target).port}`
    return changed.href
  }
  const [postgresUrl, redisUrl] = await Promise.all([
    engines.postgres.start(),
    engines.redis.start(),
    engines.mail.start(),
    ...(brokers === undefined ? [engines.kafka.start()] : [])
  ])
  const id = randomBytes(4).toString('hex')
  const mail = mailSettings(proxy('mail').port)
  const topics = { logs: `logs-${id}`, events: `account-events-${id}` }
  const product = await createProduct(t, {
    USER_SVC_POSTGRES_URL: through(postgresUrl as string, 'postgres'),
    REDIS_URL: through(redisUrl as string, 'redis'),
    KAFKA_BROKERS: brokers ?? `127.0.0.1:${proxy('kafka').port}`,
    KAFKA_LOGS_TOPIC: topics.logs,
    KAFKA_ACCOUNT_EVENTS_TOPIC: topics.events,
    LOG_SINK_GROUP: id,
    ...mail,
    RPC_USER_SVC_URL: `http://127.0.0.1:${proxy('user-svc').port}`,
    RPC_SESSION_SVC_URL: `http://127.0.0.1:${proxy('session-svc').port}`,
    ...env
  })
  address('user-svc').port = product.ports.users
  address('session-svc').port = product.ports.sessions
  const database = postgres(postgresUrl as string, { max: 1, onnotice: () => {}, connect_timeout: 5 })
  t.teardown(() => database.end({ timeout: 1 }))
  await product.startAll('log-sink')
  /** Secrets that no log line may contain. */
  const secrets = [
    product.rpcToken,
    ...product.callers.map(({ token }) => token),
    mail.MAIL_KEYS as string,
    ...[postgresUrl, redisUrl].map((url) => new URL(url as string).password)
  ]
  return { product, database, engines, proxy, topics, secrets }
}

/** Starts a proxy for each target; the port behind it is set when the target has one. */
async function startProxies(t: Teardown) {
  const addresses = Object.fromEntries(targets.map((name) => [name, { host: '127.0.0.1', port: 0 }]))
  const address = (target: Target) => addresses[target] as { host: string; port: number }
  const proxies = new Map(
    await Promise.all(targets.map(async (name) => [name, await startTcpProxy(0, address(name))] as const))
  )
  const proxy = (target: Target) => proxies.get(target) as NonNullable<ReturnType<typeof proxies.get>>
  t.teardown(async () => void (await Promise.all([...proxies.values()].map(({ close }) => close()))))
  return { address, proxy }
}
