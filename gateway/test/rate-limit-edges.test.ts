/** Rate limits at their edges: odd addresses, unknown paths, and a Redis that freezes, dies and comes back. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { connectRedis } from '#common/redis/connection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { freePort } from '#common/testing/ports.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { buildGateway, credentials, listen, loginAnswer, newAddress, requireForm } from './gateway.ts'

const rateLimit = { enabled: true, window: 60_000, max: 4, credentialsMax: 2, sessionMax: 0 }
const users = { authenticateAndLogin: () => loginAnswer(), registerAndLogin: () => loginAnswer() }

t.test('what a trusted proxy claims is used, garbage in it breaks nothing', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { users, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const login = (claim: string) => {
    const headers = { 'x-forwarded-for': claim }
    return app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress: proxy, headers })
  }
  const odd = [
    'garbage',
    '',
    ',',
    ', ,',
    '1.2.3',
    '999.1.1.1',
    '::::',
    '[::1]:80',
    '1.2.3.4:5678',
    'x'.repeat(2000),
    'unknown'
  ]
  for (const claim of odd) {
    const { statusCode } = await login(claim)
    t.ok([200, 400, 429].includes(statusCode), `${JSON.stringify(claim.slice(0, 20))}: ${statusCode}`)
  }
  const network = `2001:db8:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}`
  const statuses = []
  for (const host of ['::1', ':1:2:3:4', '::1']) statuses.push((await login(network + host)).statusCode)
  t.same(statuses, [200, 200, 429], 'a claimed IPv6 address counts by its network')
})

t.test('an address is the same client with and without the port that a proxy writes behind it', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { users, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const [client, network] = [
    newAddress(),
    `2001:db8:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}`
  ]
  const statuses = []
  for (const claim of [`${client}:1`, client, `${client}:2`, `[${network}::1]:1`, `${network}::2`, `[${network}::3]`]) {
    const headers = { 'x-forwarded-for': claim }
    const options = { method: 'POST', url: '/auth', payload: credentials, remoteAddress: proxy, headers } as const
    statuses.push((await app.inject(options)).statusCode)
  }
  t.same(statuses, [200, 200, 429, 200, 200, 429])
})

t.test('a connection that is reset at once is no fault of ours', async (t) => {
  const { app, registry } = await buildGateway(t, { users, options: { rateLimit } })
  const port = await listen(app)
  for (let count = 0; count < 200; count += 1) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    await new Promise((resolve) => socket.once('connect', resolve))
    socket.write('DELETE /logout HTTP/1.1\r\nHost: x\r\n\r\n')
    socket.resetAndDestroy()
  }
  await sleep(200)
  t.notMatch(await registry.metrics(), /request_errors_total\{error_class="server",code="\w+"\} [1-9]/)
})

t.test('only the nearest address that is not trusted counts, in each form of peer', async (t) => {
  const proxies = [newAddress(), newAddress()] as const
  const trustedProxies = proxies.map((address) => `${address}/32`)
  const { app } = await buildGateway(t, { users, options: { rateLimit, trustedProxies } })
  const client = newAddress()
  const through = async (remoteAddress: string, claim: string) => {
    const headers = { 'x-forwarded-for': claim }
    return (await app.inject({ method: 'POST', url: '/reg', payload: credentials, remoteAddress, headers })).statusCode
  }
  t.equal(await through(proxies[0], `${newAddress()}, ${client}, ${proxies[1]}`), 201)
  t.equal(await through(`::ffff:${proxies[0]}`, client), 201)
  t.equal(await through(proxies[1], `${newAddress()}, ${client}`), 429)
})

t.test('a refusal has the whole form, and unknown paths are counted too', async (t) => {
  const { app, lines } = await buildGateway(t, { users, options: { rateLimit } })
  const remoteAddress = newAddress()
  for (let count = 0; count < 4; count++) requireForm(t, await app.inject({ url: '/nope', remoteAddress }), 404)
  const refused = await app.inject({ method: 'PUT', url: '/other', remoteAddress })
  requireForm(t, refused, 429)
  t.equal(refused.headers['ratelimit-policy'], '"default";q=4;w=60')
  t.match(refused.headers.ratelimit, /^"default";r=0;t=\d+$/)
  const wait = Number(refused.headers['retry-after'])
  t.ok(wait >= 1 && wait <= 60)
  const [line] = lines.filter((each) => each.includes('excess_rate_limit_exceeded'))
  t.match(line, /"level":"info".*"reason":"default"/)
  t.notMatch(lines.join(''), remoteAddress, 'no address is logged')
})

/** A Redis that the test may freeze and kill, and a connection to it. */
async function ownRedis(t: Test) {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'redis-'))
  const start = (): ChildProcess =>
    spawn('redis-server', ['--port', String(port), '--save', '', '--dir', directory], { stdio: 'ignore' })
  const running = { server: start() }
  const redis = connectRedis(`redis://127.0.0.1:${port}`, silentLog)
  t.teardown(() => {
    redis.destroy()
    running.server.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  const ready = async () => {
    for (let waited = 0; !redis.isReady && waited < 8000; waited += 20) await sleep(20)
    t.ok(redis.isReady)
  }
  await ready()
  const restart = async () => {
    running.server = start()
    await ready()
  }
  return { redis, running, restart }
}

t.test('with a frozen Redis nobody waits, however many come at once, and limits still hold', async (t) => {
  const { redis, running } = await ownRedis(t)
  const { app } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis } })
  running.server.kill('SIGSTOP')
  const remoteAddress = newAddress()
  const seen = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const startedAt = performance.now()
      const { statusCode } = await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
      return { statusCode, tookMs: performance.now() - startedAt }
    })
  )
  t.equal(seen.filter(({ statusCode }) => statusCode === 200).length, 2)
  t.equal(seen.filter(({ statusCode }) => statusCode === 429).length, 18)
  const slowest = Math.max(...seen.map(({ tookMs }) => tookMs))
  t.ok(slowest < 1000, `${Math.round(slowest)} ms`)
})

t.test('a client that goes away while Redis is frozen causes no call', async (t) => {
  const { redis, running } = await ownRedis(t)
  let calls = 0
  const authenticateAndLogin = () => {
    calls += 1
    return loginAnswer()
  }
  const { app } = await buildGateway(t, { users: { authenticateAndLogin }, options: { rateLimit }, parts: { redis } })
  const port = await listen(app)
  running.server.kill('SIGSTOP')
  const client = httpRequest({ port, method: 'POST', path: '/auth', headers: { 'content-type': 'application/json' } })
  client.on('error', () => {}).end(JSON.stringify(credentials))
  await sleep(80)
  client.destroy()
  await sleep(500)
  t.equal(calls, 0, 'no password is hashed and no session begun for nobody')
})

t.test('a Redis that died and came back counts for all gateways again', async (t) => {
  const { redis, running, restart } = await ownRedis(t)
  const { app: one } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis } })
  const other = connectRedis(String(redis.options.url), silentLog)
  t.teardown(() => other.destroy())
  const { app: two } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis: other } })
  const login = async (app: typeof one, remoteAddress: string) =>
    (await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })).statusCode
  const exited = new Promise((resolve) => running.server.once('exit', resolve))
  running.server.kill('SIGKILL')
  await exited
  const during = newAddress()
  for (const app of [one, two])
    t.same([await login(app, during), await login(app, during), await login(app, during)], [200, 200, 429])
  await restart()
  for (let waited = 0; !other.isReady && waited < 5000; waited += 20) await sleep(20)
  await sleep(1100)
  const after = newAddress()
  t.same([await login(one, after), await login(two, after), await login(one, after)], [200, 200, 429])
})

fieldCase(t, 7, 'rate limits are counted locally within 200 ms while Redis delays writes', async (t) => {
  const { address, client } = await startRedisServer(t)
  const redis = connectRedis(`redis://${address}`, silentLog)
  t.teardown(() => redis.destroy())
  while (!redis.isReady) await sleep(20)
  const { app } = await buildGateway(t, { users, options: { rateLimit }, parts: { redis } })
  await client.sendCommand(['CLIENT', 'PAUSE', '60000', 'WRITE'])
  const remoteAddress = newAddress()
  const statuses: number[] = []
  const startedAt = performance.now()
  for (let count = 0; count < 3; count += 1) {
    statuses.push((await app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })).statusCode)
  }
  t.same(statuses, [200, 200, 429])
  t.ok(performance.now() - startedAt < 900, 'only the first request waits for Redis')
})
