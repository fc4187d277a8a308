/** Engines that are absent at the start, stop and return: readiness follows within seconds, without a connection storm. */

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createProduct, newAddress, password, type ServiceName, startWithinMs } from './support/product.ts'
import { startTcpProxy } from './support/tcp-proxy.ts'

t.setTimeout(600_000)

// For a busy machine.
const slackMs = 3000
const closedPort = await freePort()
const product = await createProduct(t, { LOG_STDOUT: 'warn', USER_SVC_POSTGRES_MAX_CONNECTIONS: '5' })
const { env, call, isReady, isAlive } = product
const postgres = new URL(env.USER_SVC_POSTGRES_URL as string)
const redis = new URL(engineAddress('TEST_REDIS_URL'))
const kafka = Number(engineAddress('TEST_KAFKA_BROKERS').split(':')[1])
const engines = [
  { name: 'postgres', port: Number(postgres.port), perSecond: 15 },
  { name: 'redis', port: Number(redis.port), perSecond: 30 },
  // All four services ship their logs, user-svc has events, and log-sink reads.
  { name: 'kafka', port: kafka, perSecond: 40 }
]
const proxies = await Promise.all(engines.map(() => startTcpProxy(0, { port: closedPort })))
t.teardown(async () => void (await Promise.all(proxies.map(({ close }) => close()))))
const [toPostgres, toRedis, toKafka] = proxies.map(({ port }) => String(port)) as [string, string, string]
postgres.port = toPostgres
redis.port = toRedis
Object.assign(env, {
  USER_SVC_POSTGRES_URL: postgres.href,
  REDIS_URL: redis.href,
  KAFKA_BROKERS: `127.0.0.1:${toKafka}`
})
Object.assign(env, { KAFKA_LOGS_TOPIC: `logs-${Date.now()}`, KAFKA_ACCOUNT_EVENTS_TOPIC: `events-${Date.now()}` })
const answering = ['session-svc', 'user-svc', 'gateway'] as const
const services = [...answering, 'log-sink'] as const

async function readyOnes(names: readonly ServiceName[]): Promise<ServiceName[]> {
  const found = await Promise.all(names.map(isReady))
  return names.filter((_, index) => found[index])
}

/** The most timestamps within one second. */
function maxPerSecond(timesMs: number[]): number {
  return Math.max(0, ...timesMs.map((at) => timesMs.filter((each) => each >= at && each < at + 1000).length))
}

/** Users keep trying while the engines are down: each gets 503 or 504, and connection attempts keep their limits. */
async function whileDown(t: Test, names: readonly ServiceName[], ms: number): Promise<void> {
  const from = proxies.map(({ openedAt }) => openedAt.length)
  const statuses = new Set<number>()
  const endsAt = performance.now() + ms
  while (performance.now() < endsAt) {
    const answers = Array.from({ length: 5 }, () =>
      call('POST', Math.random() < 0.5 ? '/auth' : '/reg', { json: { email: newAddress(), password } })
    )
    for (const { status } of await Promise.all(answers)) statuses.add(status)
    t.same(await readyOnes(names), [])
    await sleep(20)
  }
  t.ok(
    [...statuses].every((status) => status === 503 || status === 504),
    `users were answered ${[...statuses]}`
  )
  for (const [index, { name, perSecond }] of engines.entries()) {
    const openedAt = proxies[index]?.openedAt.slice(from[index]) ?? []
    const most = maxPerSecond(openedAt)
    t.ok(most <= perSecond, `${name}: ${openedAt.length} connection attempts, at most ${most} a second`)
  }
}

/** The engines return; all services become ready. */
async function restoreEngines(t: Test): Promise<void> {
  for (const [index, { port }] of engines.entries()) proxies[index]?.moveTo(port)
  const backAt = performance.now()
  for (const name of services) {
    await until(`${name} is ready`, () => isReady(name), 40_000)
    const tookMs = Math.round(performance.now() - backAt)
    // log-sink joins its group first.
    if (name === 'log-sink') t.comment(`${name} was ready after ${tookMs} ms`)
    else t.ok(tookMs < 2000 + slackMs, `${name} was ready after ${tookMs} ms`)
  }
  // session-svc is ready when Redis answers reads; the next probe reports writes.
  const verbose = async () => (await product.ops('session-svc', '/readyz?verbose')).text()
  await until('Redis accepts writes', async () => /^\[\+\] redis-writes/m.test(await verbose()), 2000 + slackMs)
  t.equal((await call('POST', '/reg', { json: { email: newAddress(), password } })).status, 201)
}

t.test('services that start without engines become ready when the engines return', async (t) => {
  product.start(...services)
  for (const name of services) await until(`${name} is alive`, () => isAlive(name), startWithinMs)
  await whileDown(t, services, 4000)
  await restoreEngines(t)
})

// The broker announces its own address, so only the first connections to Kafka use the proxy.
t.test('services are not ready while PostgreSQL and Redis are down, and recover', async (t) => {
  const downAt = performance.now()
  for (const proxy of proxies) proxy.moveTo(closedPort)
  for (const name of answering) {
    await until(`${name} is not ready`, async () => !(await isReady(name)), 20_000)
    const tookMs = Math.round(performance.now() - downAt)
    t.ok(tookMs < 1500 + slackMs, `${name} was not ready ${tookMs} ms later`)
  }
  await whileDown(t, answering, 4000)
  await restoreEngines(t)
})
