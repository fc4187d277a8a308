/** Rate limits by client address and policy: one count for all gateways, the headers, trusted proxies, lost connections. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, credentials, listen, newAddress, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const services = workingServices(user)
const rateLimit = { enabled: true, window: 60_000, max: 5, credentialsMax: 2, sessionMax: 0 }
const limited = { ...services, options: { rateLimit } }
const newNetwork = () => `2001:db8:${randomInt(65_536).toString(16)}:${randomInt(65_536).toString(16)}`

/** Logs in once from each peer, or for each claimed address, and returns the statuses. */
async function logins(app: FastifyInstance, peers: string[], claims: (string | undefined)[] = [undefined]) {
  const statuses: number[] = []
  for (const remoteAddress of peers) {
    for (const claim of claims) {
      const headers = claim === undefined ? {} : { 'x-forwarded-for': claim }
      const request = { method: 'POST', url: '/auth', payload: credentials, remoteAddress, headers } as const
      statuses.push((await app.inject(request)).statusCode)
    }
  }
  return statuses
}

t.test('counts the requests of a client over all gateways, and reports the rest of its quota', async (t) => {
  const [one, two] = [await buildGateway(t, limited), await buildGateway(t, limited)]
  const remoteAddress = newAddress()
  const login = (app: FastifyInstance) =>
    app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
  const first = await login(one.app)
  t.equal(first.statusCode, 200)
  t.equal(first.headers['ratelimit-policy'], '"credentials";q=2;w=60')
  t.match(first.headers.ratelimit, /^"credentials";r=1;t=\d+$/)
  t.equal((await login(two.app)).statusCode, 200)
  const rejected = await login(one.app)
  t.match(requireForm(t, rejected, 429), { type: 'urn:problem-type:resource-exhausted' })
  t.match(rejected.headers['retry-after'], /^[1-9]\d?$/)
  t.match(rejected.headers.ratelimit, /^"credentials";r=0;t=\d+$/)
  t.same(await logins(two.app, [newAddress()]), [200], 'another address has its own count')
  t.match(await one.registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 1/)
})

t.test('rejects every further request of a client over the limit, after the delay of the tarpit', async (t) => {
  const { app, registry, lines } = await buildGateway(t, limited)
  const remoteAddress = newAddress()
  t.same(await logins(app, Array(5).fill(remoteAddress)), [200, 200, 429, 429, 429])
  const order: string[] = []
  const rejection = app.inject({ method: 'POST', url: '/auth', payload: credentials, remoteAddress })
  const earlier = sleep(10).then(() => order.push('10 ms later'))
  const again = await rejection
  order.push('rejected')
  await earlier
  t.same(order, ['10 ms later', 'rejected'])
  requireForm(t, again, 429)
  t.match(again.headers, {
    'ratelimit-policy': '"credentials";q=2;w=60',
    ratelimit: /^"credentials";r=0;t=\d+$/,
    'retry-after': /^\d+$/
  })
  t.match(await registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 4/)
  t.equal(lines.filter((line) => line.includes('excess_rate_limit_exceeded')).length, 1, 'logged once a window')
})

t.test('limits other routes by the wider limit, and a validation only if configured', async (t) => {
  const { app } = await buildGateway(t, limited)
  const remoteAddress = newAddress()
  const statuses = async (method: 'GET' | 'DELETE', url: string, gateway = app) => {
    const request = { method, url, headers: user.headers, remoteAddress }
    const answers = []
    for (let count = 0; count < 7; count += 1) answers.push((await gateway.inject(request)).statusCode)
    return answers
  }
  t.same(await statuses('DELETE', '/logout'), [204, 204, 204, 204, 204, 429, 429])
  t.same(await statuses('GET', '/session'), Array(7).fill(200))
  const { app: strict } = await buildGateway(t, {
    ...services,
    options: { rateLimit: { ...rateLimit, sessionMax: 3 } }
  })
  t.same(await statuses('GET', '/session', strict), [200, 200, 200, 429, 429, 429, 429])
})

t.test('counts unknown paths, and logs no address', async (t) => {
  const { app, lines } = await buildGateway(t, limited)
  const remoteAddress = newAddress()
  for (let count = 0; count < 5; count++) requireForm(t, await app.inject({ url: '/nope', remoteAddress }), 404)
  const rejected = await app.inject({ method: 'PUT', url: '/other', remoteAddress })
  requireForm(t, rejected, 429)
  t.equal(rejected.headers['ratelimit-policy'], '"default";q=5;w=60')
  const [line] = lines.filter((each) => each.includes('excess_rate_limit_exceeded'))
  t.match(line, /"level":"info".*"reason":"default"/)
  t.notMatch(lines.join(''), remoteAddress)
})

t.test('counts an IPv6 network as one client, and an IPv4 address in IPv6 as that address', async (t) => {
  const { app } = await buildGateway(t, limited)
  const network = newNetwork()
  t.same(await logins(app, [`${network}::1`, `${network}:ffff::2`, `${network}:0:0:0:3`]), [200, 200, 429])
  const address = newAddress()
  t.same(await logins(app, [address, `::ffff:${address}`, address]), [200, 200, 429])
})

t.test('believes X-Forwarded-For only of a trusted proxy, and only its nearest untrusted hop', async (t) => {
  const { app } = await buildGateway(t, limited)
  const peer = newAddress()
  t.same(await logins(app, [peer], [newAddress(), newAddress(), newAddress()]), [200, 200, 429])
  const [proxy, inner, client] = [newAddress(), newAddress(), newAddress()]
  const trustedProxies = [`${proxy}/32`, `${inner}/32`]
  const { app: behind } = await buildGateway(t, { ...services, options: { rateLimit, trustedProxies } })
  t.same(await logins(behind, [proxy], [newAddress(), newAddress(), newAddress()]), [200, 200, 200])
  t.same(await logins(behind, [proxy], [`${newAddress()}, ${client}, ${inner}`]), [200])
  t.same(await logins(behind, [`::ffff:${proxy}`], [client]), [200])
  t.same(
    await logins(behind, [inner], [`${newAddress()}, ${client}`]),
    [429],
    'the first hop is the claim of the client'
  )
})

t.test('counts a client with and without a port, and an IPv6 client by its network', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { ...services, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const [client, network] = [newAddress(), newNetwork()]
  t.same(await logins(app, [proxy], [`${client}:1`, client, `${client}:2`]), [200, 200, 429])
  t.same(await logins(app, [proxy], [`[${network}::1]:1`, `${network}::2`, `[${network}::3]`]), [200, 200, 429])
})

t.test('answers a request whose X-Forwarded-For is not readable', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { ...services, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const addresses = ['garbage', '', ',', ', ,', '1.2.3', '999.1.1.1', '::::', '[::1]:80', 'x'.repeat(2000), 'unknown']
  for (const claim of addresses) {
    const [status] = await logins(app, [proxy], [claim])
    t.ok(status === 200 || status === 429, `${JSON.stringify(claim.slice(0, 20))}: ${status}`)
  }
})

t.test('counts no server error for a connection that is reset before its response', async (t) => {
  const { app, registry } = await buildGateway(t, limited)
  const port = await listen(app)
  let resets = 0
  app.server.on('connection', (socket) => socket.once('close', () => (resets += 1)))
  const count = 200
  for (let index = 0; index < count; index += 1) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    await once(socket, 'connect')
    const request = once(app.server, 'request')
    socket.write('DELETE /logout HTTP/1.1\r\nHost: x\r\n\r\n')
    // A later reset meets a later state of the request.
    if (index % 4 > 0) await request
    if (index % 4 > 1) await sleep((index % 4) - 1)
    socket.resetAndDestroy()
  }
  await until('the gateway has seen every reset', () => resets === count && app.requestsInFlight() === 0)
  const metrics = await registry.metrics()
  t.notMatch(metrics, /request_errors_total\{error_class="server",code="\w+"\} [1-9]/)
  t.match(metrics, /request_errors_total\{error_class="client",code="canceled"\} [1-9]/, 'some were in progress')
})

t.test('the routes that check or set a password or send an email share one limit', async (t) => {
  const rateLimit = { enabled: true, window: 60_000, max: 1000, credentialsMax: 1000, sessionMax: 1000 }
  const { app } = await buildGateway(t, { ...services, options: { rateLimit } })
  const policies = new Map<string, string[]>()
  for (const route of routes) {
    const { headers } = await app.inject(requestOf(route, user.headers))
    const [, policy = 'none'] = /^"(\w+)"/.exec(String(headers['ratelimit-policy'])) ?? []
    policies.set(policy, [...(policies.get(policy) ?? []), route.name])
  }
  t.same(policies.get('session'), ['GET /session'])
  t.same(policies.get('credentials')?.sort(), [
    'POST /auth',
    'POST /email/verification',
    'POST /password/reset',
    'POST /reg',
    'PUT /email',
    'PUT /password',
    'PUT /password/reset'
  ])
})
