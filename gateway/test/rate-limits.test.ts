/** Rate limits by policy: one count for all gateways, the headers, what counts as an attempt, lost connections. */

import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { requestOf, routes } from './all-routes.ts'
import {
  buildGateway,
  credentials,
  limitsOf,
  listen,
  newAddress,
  newSession,
  requireForm,
  workingServices,
  wrongPassword
} from './gateway.ts'
import { logins, statusesOf } from './statuses.ts'

const user = newSession()
const services = workingServices(user)
const guessing = { ...services, users: { ...services.users, authenticateAndLogin: wrongPassword } }
const rateLimit = limitsOf({ max: 5, credentialsMax: 2 })
const limited = { ...guessing, options: { rateLimit } }
const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

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
