/** Rate limits by client address and policy: one count for all gateways, the headers, trusted proxies, lost connections. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import { until } from '#common/testing/until.ts'
import type { Client } from '#gen/user/v1/user_pb.ts'
import { requestOf, routes } from './all-routes.ts'
import {
  buildGateway,
  credentials,
  limitsOf,
  listen,
  loginAnswer,
  newAddress,
  newSession,
  requireForm,
  workingServices,
  wrongPassword
} from './gateway.ts'

const user = newSession()
const services = workingServices(user)
const guessing = { ...services, users: { ...services.users, authenticateAndLogin: wrongPassword } }
const rateLimit = limitsOf({ max: 5, credentialsMax: 2 })
const limited = { ...guessing, options: { rateLimit } }
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
  t.equal(first.statusCode, 401)
  t.equal(first.headers['ratelimit-policy'], '"credentials";q=2;w=60')
  t.match(first.headers.ratelimit, /^"credentials";r=1;t=\d+$/)
  t.equal((await login(two.app)).statusCode, 401)
  const rejected = await login(one.app)
  t.match(requireForm(t, rejected, 429), { type: 'urn:problem-type:resource-exhausted' })
  t.match(rejected.headers['retry-after'], /^[1-9]\d?$/)
  t.match(rejected.headers.ratelimit, /^"credentials";r=0;t=\d+$/)
  t.same(await logins(two.app, [newAddress()]), [401], 'another address has its own count')
  t.match(await one.registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 1/)
})

t.test('rejects every further request of a client over the limit, after the delay of the tarpit', async (t) => {
  const { app, registry, lines } = await buildGateway(t, limited)
  const remoteAddress = newAddress()
  t.same(await logins(app, Array(5).fill(remoteAddress)), [401, 401, 429, 429, 429])
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
  t.same(await logins(app, [`${network}::1`, `${network}:ffff::2`, `${network}:0:0:0:3`]), [401, 401, 429])
  const address = newAddress()
  t.same(await logins(app, [address, `::ffff:${address}`, address]), [401, 401, 429])
})

t.test('believes X-Forwarded-For only of a trusted proxy, and only its nearest untrusted hop', async (t) => {
  const { app } = await buildGateway(t, limited)
  const peer = newAddress()
  t.same(await logins(app, [peer], [newAddress(), newAddress(), newAddress()]), [401, 401, 429])
  const [proxy, inner, client] = [newAddress(), newAddress(), newAddress()]
  const trustedProxies = [`${proxy}/32`, `${inner}/32`]
  const { app: behind } = await buildGateway(t, { ...guessing, options: { rateLimit, trustedProxies } })
  t.same(await logins(behind, [proxy], [newAddress(), newAddress(), newAddress()]), [401, 401, 401])
  t.same(await logins(behind, [proxy], [`${newAddress()}, ${client}, ${inner}`]), [401])
  t.same(await logins(behind, [`::ffff:${proxy}`], [client]), [401])
  t.same(
    await logins(behind, [inner], [`${newAddress()}, ${client}`]),
    [429],
    'the first hop is the claim of the client'
  )
})

t.test('counts a client with and without a port, and an IPv6 client by its network', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { ...guessing, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const [client, network] = [newAddress(), newNetwork()]
  t.same(await logins(app, [proxy], [`${client}:1`, client, `${client}:2`]), [401, 401, 429])
  t.same(await logins(app, [proxy], [`[${network}::1]:1`, `${network}::2`, `[${network}::3]`]), [401, 401, 429])
})

t.test('answers a request whose X-Forwarded-For is not readable', async (t) => {
  const proxy = newAddress()
  const { app } = await buildGateway(t, { ...guessing, options: { rateLimit, trustedProxies: [`${proxy}/32`] } })
  const addresses = ['garbage', '', ',', ', ,', '1.2.3', '999.1.1.1', '::::', '[::1]:80', 'x'.repeat(2000), 'unknown']
  for (const claim of addresses) {
    const [status] = await logins(app, [proxy], [claim])
    t.ok(status === 401 || status === 429, `${JSON.stringify(claim.slice(0, 20))}: ${status}`)
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

t.test('each route has the limit of its kind', async (t) => {
  const rateLimit = limitsOf({ max: 1000, credentialsMax: 1000, sessionMax: 1000 })
  const { app } = await buildGateway(t, { ...services, options: { rateLimit } })
  const policies = new Map<string, string[]>()
  for (const route of routes) {
    const { headers } = await app.inject(requestOf(route, user.headers))
    const [, policy = 'none'] = /^"(\w+)"/.exec(String(headers['ratelimit-policy'])) ?? []
    policies.set(policy, [...(policies.get(policy) ?? []), route.name])
  }
  t.same(policies.get('session'), ['GET /session'])
  t.same(policies.get('credentials')?.sort(), ['POST /auth', 'PUT /email', 'PUT /password', 'PUT /password/reset'])
  t.same(policies.get('registrations'), ['POST /reg'])
  t.same(policies.get('emails')?.sort(), ['POST /email/verification', 'POST /password/reset'])
})

/** Sends requests in turn. @returns the statuses */
async function statusesOf(app: FastifyInstance, requests: InjectOptions[]): Promise<number[]> {
  const statuses: number[] = []
  for (const request of requests) statuses.push((await app.inject(request)).statusCode)
  return statuses
}
const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

t.test('a request that is no valid attempt counts under the default limit only', async (t) => {
  const { app, registry } = await buildGateway(t, {
    ...guessing,
    options: { rateLimit: limitsOf({ max: 20, credentialsMax: 1, registrationsMax: 1 }) }
  })
  const remoteAddress = newAddress()
  const login = { method: 'POST', url: '/auth', remoteAddress, payload: credentials } as const
  const invalid: [InjectOptions, number][] = [
    [{ ...login, payload: {} }, 400],
    [{ ...login, payload: '{', headers: { 'content-type': 'application/json' } }, 400],
    [{ ...login, payload: 'x', headers: { 'content-type': 'text/plain' } }, 415],
    [{ ...login, payload: { ...credentials, password: 'a'.repeat(17_000) } }, 413],
    [{ ...login, payload: { ...credentials, more: 1 } }, 400],
    [{ ...login, method: 'PATCH' }, 405],
    [{ ...login, method: 'PUT', url: '/password' }, 401]
  ]
  for (const [request, status] of [...invalid, ...invalid]) {
    const answer = await app.inject(request)
    requireForm(t, answer, status)
    t.match(answer.headers['ratelimit-policy'], /^"default"/)
  }
  t.same(await statusesOf(app, repeat(2, login)), [401, 429], 'one guess is left')
  const registration = { ...login, url: '/reg' }
  t.same(await statusesOf(app, repeat(2, registration)), [201, 429], 'registrations count apart')
  t.same(await statusesOf(app, repeat(4, { ...login, payload: {} })), [429, 429, 429, 429], 'a denied client')
  t.same(await statusesOf(app, repeat(3, { url: '/nope', remoteAddress })), [404, 404, 429])
  t.match(await registry.metrics(), /auth_rate_limited_total\{policy="registrations"\} 1/)
})

t.test('four logins that succeed count as one that fails; a registration always counts', async (t) => {
  const options = { rateLimit: limitsOf({ credentialsMax: 2, registrationsMax: 2 }) }
  const { app } = await buildGateway(t, { ...services, options })
  const login = (url: string, remoteAddress: string) =>
    ({ method: 'POST', url, remoteAddress, payload: credentials }) as const
  t.same(await statusesOf(app, repeat(6, login('/auth', newAddress()))), [200, 200, 200, 200, 200, 429])
  t.same(await statusesOf(app, repeat(3, login('/reg', newAddress()))), [201, 201, 429])
})

t.test('a device token passes the limit of its network, if user-svc accepts it', async (t) => {
  const seen: (boolean | undefined)[] = []
  const authenticateAndLogin = ({ client }: { client?: Client | undefined }) => {
    seen.push(client?.deviceRequired)
    if (client?.deviceRequired && client.deviceToken !== 'valid') throw tooManyRequests(7)
    if (client?.deviceToken !== 'valid') return wrongPassword()
    return loginAnswer()
  }
  const users = { ...services.users, authenticateAndLogin }
  const options = { rateLimit: limitsOf({ credentialsMax: 1 }) }
  const { app, registry } = await buildGateway(t, { ...services, users, options })
  const remoteAddress = newAddress()
  const login = (device?: string) => {
    const headers = device === undefined ? {} : { 'x-device-token': device }
    return { method: 'POST', url: '/auth', remoteAddress, headers, payload: credentials } as const
  }
  t.same(
    await statusesOf(app, [login('forged'), login('forged'), login(), login('valid'), login('valid'), login()]),
    [401, 429, 429, 200, 200, 429]
  )
  t.same(seen, [undefined, true, true, true], 'user-svc decides about device tokens alone')
  t.match(await registry.metrics(), /auth_rate_limited_total\{policy="credentials"\} 3/)
  const [plain, forged] = [await app.inject(login()), await app.inject(login('forged'))]
  const text = ({ body, headers }: typeof plain) => {
    const { date: _, traceparent: __, 'x-request-id': id, ...rest } = headers
    // The seconds until the limit ends can differ by one between two requests.
    const seconds = /(?<=Try again in |;t=|"retry-after":")\d+/g
    return JSON.stringify([body, rest]).replaceAll(String(id), '').replaceAll(seconds, 'N')
  }
  t.equal(text(forged), text(plain), 'the response of the limit is the same')
  const registration = { ...login('valid'), url: '/password/reset', payload: { token: 'a', newPassword: 'b' } }
  t.same(await statusesOf(app, [{ ...registration, method: 'PUT' }]), [429], 'a route that checks no password')
})

t.test('an IPv6 /48 may send as much as 16 of its networks', async (t) => {
  const { app } = await buildGateway(t, { ...guessing, options: { rateLimit: limitsOf({ credentialsMax: 1 }) } })
  const block = `2001:db8:${randomInt(65_536).toString(16)}`
  const peers = Array.from({ length: 20 }, (_, index) => `${block}:${index.toString(16)}::1`)
  t.same(await logins(app, peers), [...repeat(16, 401), ...repeat(4, 429)])
  t.same(await logins(app, [`${newNetwork()}::1`]), [401])
})
