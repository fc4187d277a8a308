/** The store of the rate limits: local counts while Redis is down, frozen or slow, and one count again afterwards. */

import { request as httpRequest } from 'node:http'
import t, { type Test } from 'tap'
import { connectRedis } from '#common/redis/connection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { type RedisServer, startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { createDenyCache } from '../plugins/deny-cache.ts'
import type { Taken } from '../plugins/local-windows.ts'
import { createWindows, type RateLimitRedis, rateLimitScripts } from '../plugins/rate-limit-store.ts'
import {
  buildGateway,
  credentials,
  limitsOf,
  listen,
  loginAnswer,
  newAddress,
  workingServices,
  wrongPassword
} from './gateway.ts'

const working = workingServices()
const services = { ...working, users: { ...working.users, authenticateAndLogin: wrongPassword } }
const rateLimit = limitsOf({ max: 4, credentialsMax: 2 })
type App = Awaited<ReturnType<typeof buildGateway>>['app']

async function logins(apps: App[], remoteAddress = newAddress()): Promise<number[]> {
  const statuses: number[] = []
  for (const app of apps) {
    const answer = await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
    statuses.push(answer.statusCode)
  }
  return statuses
}

async function connected(t: Test, { address }: Pick<RedisServer, 'address'>) {
  const redis = connectRedis(`redis://${address}`, silentLog, rateLimitScripts)
  t.teardown(() => redis.destroy())
  await until('redis is connected', () => redis.isReady)
  return redis
}

const gateway = async (t: Test, redis: RateLimitRedis) =>
  (await buildGateway(t, { ...services, options: { rateLimit }, parts: { redis } })).app

/** A store whose Redis client the test writes, and the units in the window after each request. */
function store(takeUnits: () => Promise<Taken>, clock = createTestClock()) {
  const { take } = createWindows({ isReady: true, takeUnits } as unknown as RateLimitRedis, silentLog, clock)
  return async (own: string) => (await take({ own, larger: 'all' }, 1, { max: 10, windowMs: 60_000 })).used
}

t.test('calls a Redis that timed out again after a second only', async (t) => {
  const clock = createTestClock()
  let calls = 0
  const hangs = () => {
    calls += 1
    return new Promise<never>(() => {})
  }
  const count = store(hangs, clock)
  t.same([await count('a'), await count('a'), await count('a'), await count('b')], [1, 2, 3, 1])
  t.equal(calls, 1)
  await clock.advance(999)
  await count('a')
  t.equal(calls, 1)
  await clock.advance(1)
  await count('a')
  t.equal(calls, 2)
})

t.test('calls a Redis that fails at once for every request: another server of a cluster may work', async (t) => {
  let calls = 0
  const count = store(() => {
    calls += 1
    return Promise.reject(new Error('CLUSTERDOWN'))
  })
  t.same([await count('a'), await count('a')], [1, 2])
  t.equal(calls, 2)
})

t.test('denies a client until its window ends, and evicts the oldest of 10,000', async (t) => {
  const clock = createTestClock()
  const denied = createDenyCache(clock)
  t.equal(denied.add('a', 1500), true)
  t.equal(denied.add('a', 1500), false)
  t.equal(denied.secondsLeft('a'), 2)
  t.equal(denied.secondsLeft('b'), 0)
  await clock.advance(1500)
  t.equal(denied.secondsLeft('a'), 0)
  for (let index = 0; index <= 10_000; index += 1) denied.add(`c${index}`, 1000)
  t.equal(denied.secondsLeft('c0'), 0)
  t.equal(denied.secondsLeft('c1'), 1)
})

t.test('counts locally while Redis is unreachable', async (t) => {
  const redis = connectRedis('redis://127.0.0.1:1', silentLog, rateLimitScripts)
  t.teardown(() => redis.destroy())
  const app = await gateway(t, redis)
  t.same(await logins([app, app, app]), [401, 401, 429])
})

t.test('counts locally while Redis is frozen, also for many concurrent requests', async (t) => {
  const server = await startRedisServer(t)
  const app = await gateway(t, await connected(t, server))
  server.signal('SIGSTOP')
  const remoteAddress = newAddress()
  const statuses = (await Promise.all(Array.from({ length: 20 }, () => logins([app], remoteAddress)))).flat()
  t.equal(statuses.filter((status) => status === 401).length, 2)
  t.equal(statuses.filter((status) => status === 429).length, 18)
})

fieldCase(t, 7, 'rate limits are counted locally while Redis delays writes', async (t) => {
  const server = await startRedisServer(t)
  const app = await gateway(t, await connected(t, server))
  await server.client.sendCommand(['CLIENT', 'PAUSE', '60000', 'WRITE'])
  t.same(await logins([app, app, app]), [401, 401, 429])
})

t.test('calls no service for a client that disconnects while Redis is frozen', async (t) => {
  const server = await startRedisServer(t)
  const redis = await connected(t, server)
  const calls: string[] = []
  const authenticateAndLogin = ({ email }: { email: string }) => {
    calls.push(email)
    return loginAnswer()
  }
  const { app } = await buildGateway(t, { users: { authenticateAndLogin }, options: { rateLimit }, parts: { redis } })
  let arrived = 0
  app.server.on('request', () => (arrived += 1))
  const port = await listen(app)
  server.signal('SIGSTOP')
  const client = httpRequest({ port, method: 'POST', path: '/auth', headers: { 'content-type': 'application/json' } })
  client.on('error', () => {}).end(JSON.stringify({ ...credentials, email: 'gone@example.org' }))
  await until('the request has arrived', () => arrived === 1)
  client.destroy()
  await until('the request has ended', () => app.requestsInFlight() === 0)
  // A later request passes the same steps.
  t.same(await logins([app]), [200])
  t.same(calls, [credentials.email])
})

t.test('counts for all gateways again after Redis was killed and restarted', async (t) => {
  const server = await startRedisServer(t)
  const redis = [await connected(t, server), await connected(t, server)] as const
  const [one, two] = [await gateway(t, redis[0]), await gateway(t, redis[1])]
  server.signal('SIGKILL')
  await until('both gateways have lost Redis', () => redis.every(({ isReady }) => !isReady))
  const during = newAddress()
  for (const app of [one, two]) t.same(await logins([app, app, app], during), [401, 401, 429])
  await server.start()
  await until('both gateways are connected', () => redis.every(({ isReady }) => isReady))
  await until('both gateways count together', async () => (await logins([one, two, one]))[2] === 429)
})
