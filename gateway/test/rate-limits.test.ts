/** Rate limits: by address, over all gateways, with the current headers, and also when Redis is gone or frozen. */

import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { authorization, buildGateway } from './service.ts'

const limits = {
  GATEWAY_RATE_LIMIT_ENABLED: 'true',
  GATEWAY_RATE_LIMIT_MAX: '5',
  GATEWAY_RATE_LIMIT_CREDENTIALS_MAX: '2'
}
const payload = { email: 'ada@example.org', password: 'correct horse' }
let network = Math.floor(Math.random() * 200)
const newAddress = () => `10.${++network % 256}.${Math.floor(Math.random() * 256)}.${Math.floor(Math.random() * 256)}`

const login = (app: FastifyInstance, remoteAddress: string, headers = {}) =>
  app.inject({ method: 'POST', url: '/auth', payload, remoteAddress, headers })
const statuses = async (count: number, call: () => Promise<{ statusCode: number }>) => {
  const seen: number[] = []
  for (let index = 0; index < count; index++) seen.push((await call()).statusCode)
  return seen
}

t.test('two gateways count together, and say how much is left', async (t) => {
  const [one, two] = [await buildGateway(t, {}, limits), await buildGateway(t, {}, limits)]
  const remoteAddress = newAddress()
  const first = await login(one.app, remoteAddress)
  t.equal(first.statusCode, 200)
  t.equal(first.headers['ratelimit-policy'], '"credentials";q=2;w=60')
  t.match(first.headers.ratelimit, /^"credentials";r=1;t=(60|59)$/)
  t.equal((await login(two.app, remoteAddress)).statusCode, 200)
  const refused = await login(one.app, remoteAddress)
  t.equal(refused.statusCode, 429)
  t.match(refused.json(), { type: 'urn:problem-type:resource-exhausted', status: 429 })
  t.match(refused.headers['retry-after'], /^[1-9]\d?$/)
  t.match(refused.headers.ratelimit, /^"credentials";r=0;/)
  t.equal((await login(two.app, newAddress())).statusCode, 200, 'another address has its own count')
  t.match(await one.registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 1/)
})

t.test(
  'who is over the limit stays so until the window ends, without Redis being asked, and is kept waiting a little',
  async (t) => {
    const { app, redis, registry } = await buildGateway(t, {}, { ...limits, GATEWAY_RATE_LIMIT_WINDOW: '2s' })
    const remoteAddress = newAddress()
    t.same(await statuses(3, () => login(app, remoteAddress)), [200, 200, 429])
    const startedAt = performance.now()
    const { evalSha } = redis
    Object.assign(redis, { evalSha: () => Promise.reject(new Error('asked')) })
    const again = await login(app, remoteAddress)
    Object.assign(redis, { evalSha })
    t.equal(again.statusCode, 429)
    t.ok(performance.now() - startedAt > 20)
    t.match(again.headers, {
      'ratelimit-policy': '"credentials";q=2;w=2',
      ratelimit: /^"credentials";r=0;t=[12]$/,
      'retry-after': /^[12]$/
    })
    t.match(await registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 2/)
    t.equal((await login(app, newAddress())).statusCode, 200, 'nobody else is')
    await sleep(2100)
    t.same(await statuses(3, () => login(app, remoteAddress)), [200, 200, 429])
  }
)

t.test('other routes have the wider limit, a validation has none unless configured', async (t) => {
  const { app } = await buildGateway(t, {}, limits)
  const remoteAddress = newAddress()
  const logout = () => app.inject({ method: 'DELETE', url: '/logout', headers: authorization, remoteAddress })
  t.same(await statuses(7, logout), [204, 204, 204, 204, 204, 429, 429])
  const validate = () => app.inject({ url: '/session', headers: authorization, remoteAddress })
  t.same(await statuses(7, validate), [200, 200, 200, 200, 200, 200, 200])
  const { app: strict } = await buildGateway(t, {}, { ...limits, GATEWAY_RATE_LIMIT_SESSION_MAX: '1' })
  t.same(
    await statuses(2, () => strict.inject({ url: '/session', headers: authorization, remoteAddress: newAddress() })),
    [200, 200]
  )
})

t.test('an IPv6 network counts as one; an IPv4 address in IPv6 as itself', async (t) => {
  const { app } = await buildGateway(t, {}, limits)
  const prefix = `2001:db8:${(++network).toString(16)}:${Math.floor(Math.random() * 65_536).toString(16)}`
  const addresses = [`${prefix}::1`, `${prefix}:ffff::2`, `${prefix}:0:0:0:3`]
  t.same(await statuses(3, () => login(app, addresses.pop() as string)), [200, 200, 429])
  const address = newAddress()
  const forms = [address, `::ffff:${address}`, address]
  t.same(await statuses(3, () => login(app, forms.pop() as string)), [200, 200, 429])
})

t.test('a claimed address counts only from a trusted proxy', async (t) => {
  const { app } = await buildGateway(t, {}, limits)
  const peer = newAddress()
  t.same(await statuses(3, () => login(app, peer, { 'x-forwarded-for': newAddress() })), [200, 200, 429])
  const proxy = newAddress()
  const { app: behind } = await buildGateway(t, {}, { ...limits, GATEWAY_TRUSTED_PROXIES: `${proxy}/32` })
  t.same(await statuses(3, () => login(behind, proxy, { 'x-forwarded-for': newAddress() })), [200, 200, 200])
  const client = newAddress()
  const spoofed = () => login(behind, proxy, { 'x-forwarded-for': `${newAddress()}, ${client}` })
  t.same(await statuses(3, spoofed), [200, 200, 429], 'what the client itself wrote before it does not count')
})

t.test('without Redis each gateway counts for itself, and nobody waits long', async (t) => {
  const { app } = await buildGateway(t, { redisUrl: 'redis://127.0.0.1:1' }, limits)
  const remoteAddress = newAddress()
  t.same(await statuses(3, () => login(app, remoteAddress)), [200, 200, 429])

  const port = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
  const server = spawn('redis-server', ['--port', String(port), '--save', '', '--appendonly', 'no'], {
    stdio: 'ignore'
  })
  t.teardown(() => server.kill('SIGKILL'))
  const frozen = await buildGateway(t, { redisUrl: `redis://127.0.0.1:${port}` }, limits)
  for (let waited = 0; !frozen.redis.isReady && waited < 5000; waited += 20)
    await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal((await login(frozen.app, newAddress())).statusCode, 200)
  server.kill('SIGSTOP')
  const address = newAddress()
  const startedAt = performance.now()
  t.same(await statuses(3, () => login(frozen.app, address)), [200, 200, 429])
  t.ok(performance.now() - startedAt < 500, `${Math.round(performance.now() - startedAt)} ms`)
  server.kill('SIGCONT')
})
