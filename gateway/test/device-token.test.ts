/** The client that user-svc limits guesses by: its network and its device token, from REST to the RPCs and back. */

import t, { type Test } from 'tap'
import { tooManyRequests } from '#common/errors/connect-errors.ts'
import type { Client } from '#gen/user/v1/user_pb.ts'
import { clientClass } from '../plugins/device-token.ts'
import { requestOf, routes } from './all-routes.ts'
import {
  buildGateway,
  credentials,
  limitsOf,
  loginAnswer,
  newAddress,
  newSession,
  requireForm,
  workingServices,
  wrongPassword
} from './gateway.ts'
import { statusesOf } from './statuses.ts'

const user = newSession()
const issued = 'dev_issued-by-user-svc.1'
const held = 'dev_held-by-the-client.1'
const cookie = `__Host-device=${held}`
const set = `__Host-device=${issued}; Max-Age=34560000; Path=/; HttpOnly; Secure; SameSite=Lax`
const cleared =
  '__Host-device=; Max-Age=0; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax'

/** The `client` of every call by method; undefined if the request has no such field. */
const clients: [method: string, client: unknown][] = []
const services = workingServices(user)
const users = Object.fromEntries(
  Object.entries(services.users).map(([name, method]) => {
    const record = (request: { client?: { network?: string; deviceToken?: string } }, context: unknown) => {
      const { network, deviceToken } = request.client ?? {}
      clients.push([name, request.client && { network, deviceToken }])
      return { ...method(request as never, context as never), ...issues[name] }
    }
    return [name, record]
  })
)
const issues: Record<string, object> = {
  registerAndLogin: { deviceToken: issued },
  authenticateAndLogin: { deviceToken: issued },
  changePassword: { deviceToken: issued },
  endOtherSessions: { deviceToken: issued }
}
const { app, lines } = await buildGateway(t, { ...services, users })
t.beforeEach(() => clients.splice(0))

const change = { currentPassword: 'a', newPassword: 'b' }
const issuing = [
  ['POST', '/reg', credentials, 201],
  ['POST', '/auth', credentials, 200],
  ['PUT', '/password', change, 200]
] as const
const clientOf = async (headers: Record<string, string>, remoteAddress = '192.0.2.7') => {
  clients.length = 0
  const request = { method: 'POST', url: '/auth', payload: credentials, headers, remoteAddress } as const
  requireForm(t, await app.inject(request), 200)
  return clients[0]?.[1]
}

t.test('the routes that check or set a password or end sessions name the client, the other ones do not', async (t) => {
  const named: string[] = []
  for (const route of routes) {
    clients.length = 0
    const request = requestOf(route, { ...user.headers, 'x-device-token': held })
    requireForm(t, await app.inject({ ...request, remoteAddress: '192.0.2.7' }), route.success, route.name)
    for (const [method, client] of clients) {
      if (client === undefined) continue
      named.push(method)
      t.same(client, { network: '192.0.2.7', deviceToken: held }, method)
    }
  }
  t.same(named.sort(), [
    'authenticateAndLogin',
    'changeEmail',
    'changePassword',
    'endOtherSessions',
    'registerAndLogin',
    'resetPassword'
  ])
})

t.test('the network is an IPv4 address, or the /64 of an IPv6 address', async (t) => {
  const networks = {
    '192.0.2.7': '192.0.2.7',
    '::ffff:192.0.2.7': '192.0.2.7',
    '2001:DB8:0:1:2:3:4:5': '2001:db8:0:1::/64',
    '2001:db8::1': '2001:db8::/64',
    '::1': '::/64',
    'fe80::1%eth0': 'fe80::/64',
    '2001:db8:1:2:3::': '2001:db8:1:2::/64'
  }
  for (const [address, network] of Object.entries(networks)) {
    t.same(await clientOf({}, address), { network, deviceToken: undefined }, address)
  }
})

t.test('the token comes from the header, or else from the cookie', async (t) => {
  const tokenOf = async (headers: Record<string, string>) =>
    ((await clientOf(headers)) as { deviceToken?: string }).deviceToken
  t.equal(await tokenOf({ 'x-device-token': 'a', cookie }), 'a')
  t.equal(await tokenOf({ cookie: `a=b; ${cookie}; c=d` }), held)
  t.equal(await tokenOf({ cookie: `${cookie}; __Host-device=other` }), undefined, 'two cookies are ambiguous')
  t.equal(await tokenOf({ 'x-device-token': '', cookie }), undefined)
  t.equal(await tokenOf({ 'x-device-token': 'a'.repeat(513) }), undefined, 'a longer value is no token')
  t.equal(await tokenOf({ cookie: `x${cookie}` }), undefined)
})

t.test('cookie mode sets a cookie, bearer mode the header', async (t) => {
  for (const [method, url, payload, success] of issuing) {
    const request = { method, url, headers: user.headers }
    const byCookie = await app.inject({ ...request, payload: { ...payload, cookie: true } })
    requireForm(t, byCookie, success, url)
    t.same([byCookie.headers['set-cookie']].flat()[1] ?? byCookie.headers['set-cookie'], set, url)
    t.equal(byCookie.headers['x-device-token'], undefined, url)
    const byHeader = await app.inject({ ...request, payload })
    requireForm(t, byHeader, success, url)
    t.equal(byHeader.headers['set-cookie'], undefined, url)
    t.equal(byHeader.headers['x-device-token'], issued, url)
    t.notMatch(byHeader.body + byCookie.body, issued)
  }
})

t.test('the end of all other sessions replaces the token in the form of the session', async (t) => {
  const request = { method: 'DELETE', url: '/sessions' } as const
  const byHeader = await app.inject({ ...request, headers: user.headers })
  requireForm(t, byHeader, 204)
  t.match(byHeader.headers, { 'x-device-token': issued, 'set-cookie': undefined })
  const byCookie = await app.inject({ ...request, headers: { cookie: `__Host-session=${user.token}; ${cookie}` } })
  requireForm(t, byCookie, 204)
  t.match(byCookie.headers, { 'x-device-token': undefined, 'set-cookie': set })
})

t.test('an older user-svc issues none, and the responses have none', async (t) => {
  const { app } = await buildGateway(t, { users: { authenticateAndLogin: () => loginAnswer() } })
  const answer = await app.inject({ method: 'POST', url: '/auth', payload: { ...credentials, cookie: true } })
  requireForm(t, answer, 200)
  t.match(answer.headers['set-cookie'], /^__Host-session=/)
  const plain = await app.inject({ method: 'POST', url: '/auth', payload: credentials })
  t.equal(plain.headers['x-device-token'], undefined)
})

t.test('a deletion clears the cookie, a logout does not', async (t) => {
  const headers = { ...user.headers, cookie }
  const logout = await app.inject({ method: 'DELETE', url: '/logout', headers })
  requireForm(t, logout, 204)
  t.equal(logout.headers['set-cookie'], undefined)
  const deletion = await app.inject({ method: 'DELETE', url: '/delete', headers })
  requireForm(t, deletion, 204)
  t.equal(deletion.headers['set-cookie'], cleared)
  const without = await app.inject({ method: 'DELETE', url: '/delete', headers: user.headers })
  t.equal(without.headers['set-cookie'], undefined)
  const byCookie = { cookie: `__Host-session=${user.token}; ${cookie}` }
  const both = await app.inject({ method: 'DELETE', url: '/delete', headers: byCookie })
  t.match(both.headers['set-cookie'], [/^__Host-(device|session)=;/, /^__Host-(device|session)=;/])
})

t.test('no log line holds the token or the network', async (t) => {
  await clientOf({ 'x-device-token': held }, '192.0.2.99')
  t.ok(lines.length > 0)
  t.notMatch(lines.join(''), /dev_|192\.0\.2\./)
})

t.test('an overload concerns one device, or the clients of a network without a device token', async (t) => {
  const of = (client?: { network?: string; deviceToken?: string }) => clientClass({ ...(client && { client }) })
  const classes = [of({ network: 'a' }), of({ network: 'b' }), of({ network: 'a', deviceToken: 'd' }), of()]
  t.equal(new Set(classes).size, 4)
  t.equal(of({ network: 'a' }), of({ network: 'a' }))
})

/** A gateway that admits two guesses of a network in a minute, and what user-svc has seen of each. */
async function buildLimited(t: Test) {
  const seen: (boolean | undefined)[] = []
  const authenticateAndLogin = ({ client, password }: { client?: Client | undefined; password: string }) => {
    seen.push(client?.deviceRequired)
    if (client?.deviceRequired && client.deviceToken !== 'valid') throw tooManyRequests(7)
    if (client?.deviceToken !== 'valid' || password === 'wrong') return wrongPassword()
    return loginAnswer()
  }
  const users = { ...services.users, authenticateAndLogin }
  const options = { rateLimit: limitsOf({ credentialsMax: 2 }) }
  const { app, registry } = await buildGateway(t, { ...services, users, options })
  const remoteAddress = newAddress()
  const login = (device?: string, password = credentials.password) => {
    const headers = device === undefined ? {} : { 'x-device-token': device }
    return { method: 'POST', url: '/auth', remoteAddress, headers, payload: { ...credentials, password } } as const
  }
  return { app, registry, login, seen }
}

t.test('a device token passes the limit of its network, if user-svc accepts it', async (t) => {
  const { app, registry, login, seen } = await buildLimited(t)
  const tokens = ['forged', 'forged', 'forged', undefined, 'valid', 'valid', undefined]
  t.same(
    await statusesOf(
      app,
      tokens.map((token) => login(token))
    ),
    [401, 401, 429, 429, 200, 200, 429]
  )
  t.same(seen, [undefined, undefined, true, true, true], 'user-svc decides about device tokens alone')
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

t.test('a network over its limit sends twice the limit with device tokens, right or wrong passwords', async (t) => {
  for (const [password, status, before] of [
    ['wrong', 401, 2],
    [credentials.password, 200, 5]
  ] as const) {
    const { app, login, seen } = await buildLimited(t)
    const flood = Array.from({ length: before + 4 + 3 }, () => login('valid', password))
    const admitted = Array(before + 4).fill(status)
    t.same(await statusesOf(app, flood), [...admitted, 429, 429, 429], password)
    t.equal(seen.length, before + 4, 'user-svc gets no more')
    const [plain, known] = [await app.inject(login()), await app.inject(login('valid'))]
    t.same(known.json().type, plain.json().type)
    t.equal(known.headers['ratelimit-policy'], plain.headers['ratelimit-policy'])
    t.match(known.headers['retry-after'], /^\d+$/)
    requireForm(t, known, 429)
  }
})
