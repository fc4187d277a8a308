/** SIGTERM under load: a service becomes unready, finishes accepted requests, logs them and exits 0; a hard stop reports its losses. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { createProduct, password, type ServiceName, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

const product = await createProduct(t, {
  // Expensive enough that most logins wait in the hash queue. The budgets are for a busy machine.
  USER_SVC_PASSWORD_COST: '10',
  GATEWAY_BUDGETS_AUTH: '30s',
  SHUTDOWN_TIMEOUT: '40s',
  // The ops port answers at least as long, so that a probe during the stop is certain.
  SHUTDOWN_DRAIN_DELAY: '2s',
  LOG_STDOUT: 'error'
})
const { call, env } = product
await product.startAll('log-sink')
const { email, token } = await product.register()

const logIns = (count: number) =>
  Array.from({ length: count }, () => call('POST', '/auth', { json: { email, password } }))
const metric = async (name: ServiceName, series: string) => {
  const text = await (await product.ops(name, '/metrics')).text()
  return Number(new RegExp(`^${series}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1])
}

async function restart(name: ServiceName): Promise<void> {
  product.start(name)
  await until(`${name} is ready`, () => product.isReady(name), startWithinMs)
  // The gateway may notice later.
  const metrics = async () => (name === 'gateway' ? '' : (await product.ops('gateway', '/metrics')).text())
  await until(
    `the gateway calls ${name}`,
    async () => !/^rpc_client_breaker_state\{.*\} (0\.5|1)$/m.test(await metrics())
  )
}

/** The statuses of /readyz until the ops port closes. */
async function probeUntil(name: ServiceName, stopped: Promise<unknown>): Promise<number[]> {
  let isStopped = false
  void stopped.then(() => {
    isStopped = true
  })
  const statuses: number[] = []
  while (!isStopped) {
    const status = await product.ops(name, '/readyz').then(
      (response) => response.status,
      () => undefined
    )
    if (status === undefined) break
    statuses.push(status)
    await sleep(20)
  }
  return statuses
}

/** The disk buffer of a service, of all of its processes so far. */
const spooled = (name: ServiceName) =>
  globSync('**/*', { cwd: join(product.dataDir, 'spool', name), withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('')

for (const name of ['user-svc', 'gateway', 'session-svc'] as const) {
  t.test(`${name}: SIGTERM makes it unready and loses no accepted request`, async (t) => {
    // Opens connections, so that the next requests are accepted before the signal.
    await Promise.all(Array.from({ length: 20 }, () => call('GET', '/session', { token })))
    const waiting = name === 'session-svc' ? [] : logIns(20)
    const validations = Array.from({ length: 20 }, () => call('GET', '/session', { token }))
    if (waiting.length > 0)
      await until(
        'logins wait for a hash',
        async () => (await metric('user-svc', 'auth_password_hash_queue_length')) > 0
      )
    const stopped = product.stop(name)
    const probes = probeUntil(name, stopped)
    const answers = await Promise.all([...waiting, ...validations])
    const allowed = name === 'session-svc' ? [200, 503] : [200]
    t.same(
      answers.map(({ status }) => status).filter((status) => !allowed.includes(status)),
      []
    )
    t.equal(await stopped, 0)
    // The kernel may deliver the first probe before the signal.
    const [first, ...others] = await probes
    t.ok([200, 503].includes(first as number), `the first probe was answered ${first}`)
    t.ok(others.length > 0, 'a probe was answered during the stop')
    t.same(new Set(others), new Set([503]))
    if (name === 'gateway') {
      const lines = spooled('gateway')
      const unlogged = answers.filter(({ headers }) => !lines.includes(`"traceId":"${headers.get('x-request-id')}"`))
      t.equal(unlogged.length, 0, 'each request has its log line')
    }
    t.match(spooled(name), /"event":"sys_shutdown".*"msg":"stopped"/)
    await restart(name)
  })
}

t.test('log-sink: SIGTERM ends it with exit code 0', async (t) => {
  t.equal(await product.stop('log-sink'), 0)
})

/** Sends logins that user-svc, which is suspended, never answers; resolves when the gateway has accepted them. */
async function pendingLogIns(count: number) {
  const lost = Promise.allSettled(logIns(count))
  const accepted = async () => (await metric('gateway', 'http_connections_open')) >= count
  await until('the gateway has accepted the logins', accepted)
  // The requests follow their connections.
  await metric('gateway', 'http_connections_open')
  return { lost }
}

/** In the log on standard output and on disk. */
const requireReport = (pattern: RegExp) => {
  t.match(product.output('gateway'), pattern)
  t.match(spooled('gateway'), pattern)
}

t.test('a hard stop at the end of the shutdown timeout reports the lost requests', async (t) => {
  await product.stop('gateway')
  env.SHUTDOWN_TIMEOUT = '1s'
  env.SHUTDOWN_DRAIN_DELAY = '0s'
  await restart('gateway')
  const userSvc = product.process('user-svc')
  userSvc?.kill('SIGSTOP')
  t.teardown(() => userSvc?.kill('SIGCONT'))
  const { lost } = await pendingLogIns(3)
  t.equal(await product.stop('gateway'), 1)
  t.ok((await lost).every(({ status }) => status === 'rejected'))
  requireReport(/"level":"error".*"event":"sys_shutdown","reason":"http","count":3,"msg"/)
})

const shutdownLines = () => spooled('gateway').split('"event":"sys_shutdown"').length

t.test('a second signal is a hard stop that reports the lost requests', async (t) => {
  env.SHUTDOWN_TIMEOUT = '60s'
  product.start('gateway')
  await until('the gateway is alive', () => product.isAlive('gateway'), startWithinMs)
  // Continued by the teardown of the test before this one.
  product.process('user-svc')?.kill('SIGSTOP')
  const { lost } = await pendingLogIns(2)
  const before = shutdownLines()
  const stopped = product.stop('gateway')
  await until('the gateway handles the first signal', () => shutdownLines() > before)
  product.process('gateway')?.kill('SIGTERM')
  t.equal(await stopped, 1)
  await lost
  requireReport(/"event":"sys_shutdown","reason":"http","count":2,"signal":"SIGTERM"/)
  product.process('user-svc')?.kill('SIGCONT')
  t.equal(await product.stop('user-svc'), 0)
})
