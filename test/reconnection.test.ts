/** Services that start before their engines, and engines that go and come back: readiness tells the truth, nobody storms. */

import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { mostPerSecond, startLossyProxy } from './support/lossy-proxy.ts'
import { createProduct, newAddress, password, type ServiceName, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

// A busy machine is slow; one that waits for something else is a good deal slower.
const slackMs = 3000
const nobody = await freePort()
const product = await createProduct(t, { LOG_STDOUT: 'warn', USER_SVC_POSTGRES_MAX_CONNECTIONS: '5' })
const { env, call, isReady } = product
const postgres = new URL(env.USER_SVC_POSTGRES_URL as string)
const redis = new URL(engineAddress('TEST_REDIS_URL'))
const kafka = Number(engineAddress('TEST_KAFKA_BROKERS').split(':')[1])
const engines = [
  { name: 'postgres', port: Number(postgres.port), perSecond: 15 },
  { name: 'redis', port: Number(redis.port), perSecond: 30 },
  // All four services ship their logs, user-svc has events, and log-sink reads.
  { name: 'kafka', port: kafka, perSecond: 40 }
]
const proxies = await Promise.all(engines.map(() => startLossyProxy(t, { port: nobody })))
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

const lives = (name: ServiceName) =>
  product.ops(name, '/livez').then(
    ({ ok }) => ok,
    () => false
  )
async function readyOnes(names: readonly ServiceName[]): Promise<ServiceName[]> {
  const found = await Promise.all(names.map(isReady))
  return names.filter((_, index) => found[index])
}

/** While the engines are away there are users who keep trying; nobody is let in, and nobody storms. */
async function whileAway(t: Test, names: readonly ServiceName[], ms: number): Promise<void> {
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
    const most = mostPerSecond(openedAt)
    t.ok(most <= perSecond, `${name}: ${openedAt.length} connections were tried, at most ${most} a second`)
  }
}

/** All engines are there from now on. */
async function comeBack(t: Test): Promise<void> {
  for (const [index, { port }] of engines.entries()) proxies[index]?.moveTo(port)
  const backAt = performance.now()
  for (const name of services) {
    await until(`${name} is ready`, () => isReady(name), 40_000)
    const tookMs = Math.round(performance.now() - backAt)
    // A group of consumers has to be joined first.
    if (name === 'log-sink') t.comment(`${name} was ready after ${tookMs} ms`)
    else t.ok(tookMs < 2000 + slackMs, `${name} was ready after ${tookMs} ms`)
  }
  // session-svc is ready when Redis answers reads. A probe later it says that Redis takes writes, too.
  const verbose = async () => (await product.ops('session-svc', '/readyz?verbose')).text()
  await until('Redis takes writes', async () => /^\[\+\] redis-writes/m.test(await verbose()), 2000 + slackMs)
  t.equal((await call('POST', '/reg', { json: { email: newAddress(), password } })).status, 201)
}

t.test('all engines absent at the start', async (t) => {
  product.start(...services)
  for (const name of services) await until(`${name} lives`, () => lives(name), startWithinMs)
  await whileAway(t, services, 4000)
  await comeBack(t)
})

// A broker names its own address, so only the first connections to Kafka come this way.
t.test('PostgreSQL and Redis gone at once', async (t) => {
  const goneAt = performance.now()
  for (const proxy of proxies) proxy.moveTo(nobody)
  for (const name of answering) {
    await until(`${name} says so`, async () => !(await isReady(name)), 20_000)
    const tookMs = Math.round(performance.now() - goneAt)
    t.ok(tookMs < 1500 + slackMs, `${name} was not ready ${tookMs} ms later`)
  }
  await whileAway(t, answering, 4000)
  await comeBack(t)
})
