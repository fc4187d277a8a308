/** Origins: CORS for the listed ones, and protection of cookies against requests that other pages forge. */

import t from 'tap'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, credentials, limitsOf, newAddress, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const byCookie = { cookie: `__Host-session=${user.token}` }
const listed = 'https://app.example.org'
const local = 'http://localhost:3000'
const foreign = 'https://evil.example'
const host = 'auth.example.org'
const options = { origins: [listed, local] }
const { app } = await buildGateway(t, { ...workingServices(user), options })
const { app: alone } = await buildGateway(t, workingServices(user))

const isCors = (name: string) => name.startsWith('access-control-')

t.test('answers the preflight of a listed origin for every route', async (t) => {
  for (const origin of [listed, local]) {
    for (const { method, url, name } of routes) {
      const headers = {
        origin,
        'access-control-request-method': method,
        'access-control-request-headers': 'authorization, content-type, x-device-token'
      }
      const answer = await app.inject({ method: 'OPTIONS', url, headers })
      t.equal(answer.statusCode, 204, name)
      t.match(answer.headers, {
        'access-control-allow-origin': origin,
        'access-control-allow-credentials': 'true',
        'access-control-allow-headers': 'authorization, content-type, x-device-token',
        'access-control-max-age': '600',
        'cache-control': 'no-store',
        vary: 'Origin, Access-Control-Request-Headers'
      })
      const methods = String(answer.headers['access-control-allow-methods']).split(', ')
      t.ok(methods.includes(method), name)
    }
  }
})

t.test('gives no other origin a CORS header', async (t) => {
  const others = [
    foreign,
    'null',
    'http://app.example.org',
    'https://app.example.org:444',
    'https://APP.example.org',
    'https://app.example.org/',
    'https://app.example.org.evil.example',
    'https://sub.app.example.org',
    `${listed}, ${foreign}`,
    '*',
    ''
  ]
  for (const origin of others) {
    const preflight = await app.inject({
      method: 'OPTIONS',
      url: '/auth',
      headers: { origin, 'access-control-request-method': 'POST' }
    })
    t.ok([404, 405].includes(preflight.statusCode), `${origin}: ${preflight.statusCode}`)
    const answer = await app.inject({ url: '/session', headers: { ...user.headers, origin } })
    requireForm(t, answer, 200, 'a bearer token is no cookie')
    for (const { headers } of [preflight, answer]) {
      t.same(Object.keys(headers).filter(isCors), [], origin)
      t.equal(headers.vary, 'Origin', 'a cache must not give this response to a listed origin')
    }
  }
  const anyone = await alone.inject({ url: '/session', headers: { ...user.headers, origin: listed } })
  t.same(Object.keys(anyone.headers).filter(isCors), [], 'an empty list')
})

t.test('lets a page of a listed origin read every response and its headers, errors included', async (t) => {
  const limits = limitsOf({ max: 100, credentialsMax: 1, sessionMax: 1 })
  const limited = { ...options, rateLimit: limits, trustedProxies: ['127.0.0.1/32'] }
  const { app } = await buildGateway(t, { ...workingServices(user), options: limited })
  const headers = { origin: listed, 'x-forwarded-for': newAddress() }
  const login = { method: 'POST', url: '/auth', headers, payload: credentials } as const
  const answers = [
    [await app.inject(login), 200],
    [await app.inject(login), 429],
    [await app.inject(login), 429],
    [await app.inject({ url: '/session', headers }), 401],
    [await app.inject({ url: '/nope', headers }), 404],
    [await app.inject({ method: 'PUT', url: '/session', headers }), 405],
    [await app.inject({ url: '/%', headers }), 400]
  ] as const
  for (const [answer, status] of answers) {
    requireForm(t, answer, status)
    if (status === 400) continue
    t.match(answer.headers, { 'access-control-allow-origin': listed, 'access-control-allow-credentials': 'true' })
    const exposed = String(answer.headers['access-control-expose-headers']).toLowerCase()
    for (const name of [
      'ratelimit',
      'ratelimit-policy',
      'retry-after',
      'x-request-id',
      'traceparent',
      'x-device-token'
    ]) {
      t.ok(exposed.split(', ').includes(name), name)
    }
  }
})

/** The headers of a request, and whether the gateway accepts it with a cookie. */
const senders: [what: string, headers: Record<string, string>, isAccepted: boolean][] = [
  ['the own page', { 'sec-fetch-site': 'same-origin', origin: `https://${host}` }, true],
  [
    'the own page behind a proxy that changes the host',
    { 'sec-fetch-site': 'same-origin', origin: 'https://other' },
    true
  ],
  ['the own page that sends no referrer', { 'sec-fetch-site': 'same-origin', origin: 'null' }, true],
  ['the user', { 'sec-fetch-site': 'none' }, true],
  ['a listed origin', { 'sec-fetch-site': 'same-site', origin: listed }, true],
  ['a listed origin of another site', { 'sec-fetch-site': 'cross-site', origin: local }, true],
  ['a sibling', { 'sec-fetch-site': 'same-site', origin: 'https://blog.example.org' }, false],
  ['a foreign page', { 'sec-fetch-site': 'cross-site', origin: foreign }, false],
  ['a foreign page that hides its origin', { 'sec-fetch-site': 'cross-site', origin: 'null' }, false],
  ['a foreign form without an origin', { 'sec-fetch-site': 'cross-site' }, false],
  ['two values of the header', { 'sec-fetch-site': 'same-origin, cross-site', origin: foreign }, false],
  ['an unknown value', { 'sec-fetch-site': 'Same-Origin', origin: foreign }, false],
  ['an old browser, own page', { origin: `https://${host}` }, true],
  ['an old browser, listed origin', { origin: listed }, true],
  ['an old browser, foreign page', { origin: foreign }, false],
  ['an old browser, hidden origin', { origin: 'null' }, false],
  ['an old browser, the own host without TLS', { origin: `http://${host}` }, false],
  ['an old browser, another port', { origin: `https://${host}:8443` }, false],
  ['no browser', {}, true]
]

t.test('answers 403 to a forged request with the cookie, before any call, on every state-changing route', async (t) => {
  const calls: string[] = []
  const services = workingServices(user)
  const counted = Object.fromEntries(
    Object.entries(services.users).map(([name, method]) => {
      const count = (...call: [never, never]) => {
        calls.push(name)
        return method(...call)
      }
      return [name, count]
    })
  )
  const { app } = await buildGateway(t, { ...services, users: counted, options })
  for (const route of routes) {
    for (const [what, headers, isAccepted] of senders) {
      calls.length = 0
      const answer = await app.inject(requestOf(route, { ...byCookie, host, ...headers }))
      const name = `${route.name}, ${what}`
      const isForged = route.method !== 'GET' && !isAccepted
      const problem = requireForm(t, answer, isForged ? 403 : route.success, name)
      if (!isForged) continue
      t.equal(problem.type, 'urn:problem-type:cross-origin', name)
      t.same(calls, [], name)
      requireForm(
        t,
        await app.inject(requestOf(route, { ...user.headers, host, ...headers })),
        route.success,
        'a bearer token'
      )
    }
  }
})

t.test('answers 403 to a foreign page that asks for the cookie (login CSRF)', async (t) => {
  const change = { currentPassword: 'a', newPassword: 'b' }
  for (const [what, headers, isAccepted] of senders) {
    for (const [method, url, payload, success] of [
      ['POST', '/reg', credentials, 201],
      ['POST', '/auth', credentials, 200],
      ['PUT', '/password', change, 200]
    ] as const) {
      const request = { method, url, headers: { ...(url === '/password' && user.headers), host, ...headers } }
      const answer = await app.inject({ ...request, payload: { ...payload, cookie: true } })
      requireForm(t, answer, isAccepted ? success : 403, `${url}, ${what}`)
      if (!isAccepted) t.equal(answer.headers['set-cookie'], undefined)
      requireForm(t, await app.inject({ ...request, payload }), success, `${url} without a cookie, ${what}`)
    }
  }
})

t.test('the page of a development setup is its own origin', async (t) => {
  for (const [own, origin, status] of [
    ['localhost:8080', 'http://localhost:8080', 204],
    ['127.0.0.1:8080', 'http://127.0.0.1:8080', 204],
    ['[::1]:8080', 'http://[::1]:8080', 204],
    ['localhost:8080', 'http://localhost:3001', 403],
    ['localhost.evil.example', 'http://localhost.evil.example', 403]
  ] as const) {
    const headers = { ...byCookie, host: own, origin }
    requireForm(t, await alone.inject({ method: 'DELETE', url: '/logout', headers }), status, `${own} ${origin}`)
  }
})
