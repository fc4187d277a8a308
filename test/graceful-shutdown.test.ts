/** SIGTERM under load: unready at once, what was accepted is answered and logged, exit 0; and a hard stop says what it cut off. */

import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password, type ServiceName, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

const product = await createProduct(t, {
  // So dear that most of the log-ins wait for their turn, and with time enough on a busy machine.
  USER_SVC_PASSWORD_COST: '10',
  GATEWAY_BUDGETS_AUTH: '30s',
  SHUTDOWN_TIMEOUT: '40s',
  LOG_STDOUT: 'error'
})
const { call, env } = product
await product.startAll('log-sink')
const email = newAddress()
const token = (await call('POST', '/reg', { json: { email, password } })).body.session.token as string

const logIns = (many: number) =>
  Array.from({ length: many }, () => call('POST', '/auth', { json: { email, password } }))
const restart = async (name: ServiceName) => {
  product.start(name)
  await until(`${name} is ready`, () => product.isReady(name), startWithinMs)
  // It may be ready before the gateway has noticed.
  const metrics = async () => (name === 'gateway' ? '' : (await product.ops('gateway', '/metrics')).text())
  await until(
    `the gateway calls ${name}`,
    async () => !/^rpc_client_breaker_state\{.*\} (0\.5|1)$/m.test(await metrics())
  )
}

/**
 * The ops port says 503 for as long as it answers. Only the first request may be answered 200: a busy machine delivers it
 * together with the signal, in either order.
 */
async function requireUnready(name: ServiceName, ended: Promise<unknown>): Promise<number> {
  let over = false
  let looks = 0
  void ended.then(() => {
    over = true
  })
  while (!over) {
    const status = await product.ops(name, '/readyz').then(
      (response) => response.status,
      () => 'closed'
    )
    if (status === 'closed') break
    const allowed = looks === 0 ? [200, 503] : [503]
    if (!allowed.includes(Number(status))) throw new Error(`${name} says ${status} while it is stopping`)
    looks += 1
    await sleep(20)
  }
  return looks
}

/** What is in the disk buffer of a service, of all of its processes so far. */
const spooled = (name: ServiceName) =>
  globSync('**/*', { cwd: join(product.dataDir, 'spool', name), withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8'))
    .join('')

for (const name of ['user-svc', 'gateway', 'session-svc'] as const) {
  t.test(`${name}: log-ins that hash or wait for it are finished`, async (t) => {
    // Over connections that are there, so that all of them have been accepted when the signal comes.
    await Promise.all(Array.from({ length: 20 }, () => call('GET', '/session', { token })))
    const waiting = name === 'session-svc' ? [] : logIns(20)
    const validations = Array.from({ length: 20 }, () => call('GET', '/session', { token }))
    await sleep(name === 'session-svc' ? 0 : 500)
    const stopped = product.stop(name)
    await sleep(5)
    const looks = requireUnready(name, stopped)
    const answers = await Promise.all([...waiting, ...validations])
    const allowed = name === 'session-svc' ? [200, 503] : [200]
    t.same(
      answers.map(({ status }) => status).filter((status) => !allowed.includes(status)),
      []
    )
    t.equal(await stopped, 0)
    t.comment(`/readyz was asked ${await looks} times`)
    if (name === 'gateway') {
      const lines = spooled('gateway')
      const untold = answers.filter(({ headers }) => !lines.includes(`"traceId":"${headers.get('x-request-id')}"`))
      t.equal(untold.length, 0, 'each answer has its line')
    }
    t.match(spooled(name), /"event":"sys_shutdown".*"msg":"stopped"/)
    await restart(name)
  })
}

t.test('log-sink', async (t) => {
  t.equal(await product.stop('log-sink'), 0)
})

t.test('the end of the time is a hard stop that says what it cut off', async (t) => {
  await product.stop('gateway')
  env.SHUTDOWN_TIMEOUT = '1s'
  await restart('gateway')
  const userSvc = product.process('user-svc')
  userSvc?.kill('SIGSTOP')
  t.teardown(() => userSvc?.kill('SIGCONT'))
  const lost = Promise.allSettled(logIns(3))
  await sleep(300)
  t.equal(await product.stop('gateway'), 1)
  t.ok((await lost).every(({ status }) => status === 'rejected'))
  const told =
    /"level":"error".*"event":"sys_shutdown","reason":"http","count":3.*stopped after shutdown\.timeout: http/
  t.match(product.output('gateway'), told)
  t.match(spooled('gateway'), told)
})

t.test('so is a second signal', async (t) => {
  env.SHUTDOWN_TIMEOUT = '60s'
  product.start('gateway')
  await until('the gateway lives', () =>
    product.ops('gateway', '/livez').then(
      ({ ok }) => ok,
      () => false
    )
  )
  // Nothing at the other end: user-svc is stopped by the test before this one.
  product.process('user-svc')?.kill('SIGSTOP')
  const lost = Promise.allSettled(logIns(2))
  await sleep(300)
  const stopped = product.stop('gateway')
  await sleep(100)
  product.process('gateway')?.kill('SIGTERM')
  t.equal(await stopped, 1)
  await lost
  const told = /"event":"sys_shutdown","reason":"http","count":2,"signal":"SIGTERM".*stopped at once: http/
  t.match(product.output('gateway'), told)
  t.match(spooled('gateway'), told)
  product.process('user-svc')?.kill('SIGCONT')
  t.equal(await product.stop('user-svc'), 0)
})
