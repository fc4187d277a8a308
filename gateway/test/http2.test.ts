/** REST over TLS by HTTP/2 and HTTP/1.1: the same responses, HSTS, and requests that only one of the protocols can express. */

import { once } from 'node:events'
import { constants } from 'node:http2'
import { connect } from 'node:tls'
import t from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
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
  workingServices
} from './gateway.ts'
import { answerOf, openSession, send, start } from './http2-client.ts'
import { requestTls } from './tls-client.ts'

const user = newSession()
const { headers } = user
let calls = 0
const services = workingServices(user)
const registerAndLogin = () => {
  calls += 1
  return loginAnswer()
}
/** Set while a call of the last test waits. */
let waiting: AbortSignal | undefined
let isWaiting = false
const getAccount: typeof services.users.getAccount = async (request, context) => {
  if (isWaiting) {
    waiting = context.signal
    await once(waiting, 'abort')
  }
  return services.users.getAccount?.(request, context) as never
}
const tls = createTestCa(t).issue('gateway')
const { app, lines, registry } = await buildGateway(t, {
  ...services,
  users: { ...services.users, registerAndLogin, getAccount },
  options: { tls }
})
const port = await listen(app)
const hsts = { 'strict-transport-security': 'max-age=31536000' }
const session = await openSession(t, port)

t.test('every route has the same response by HTTP/2 and HTTP/1.1', async (t) => {
  for (const route of routes) {
    const { method, url, payload } = requestOf(route)
    const message = { headers, ...(payload && { json: payload }) }
    for (const answer of [
      await send(session, `${method} ${url}`, message),
      await requestTls(port, method, url, message)
    ]) {
      requireForm(t, answer, route.success, route.name)
      t.match(answer.headers, hsts)
    }
  }
})

t.test('a session by cookie: login, use, logout', async (t) => {
  for (const call of [
    (method: string, path: string, message: object) => send(session, `${method} ${path}`, message),
    (method: string, path: string, message: object) => requestTls(port, method, path, message)
  ]) {
    const login = await call('POST', '/auth', { json: { ...credentials, cookie: true } })
    requireForm(t, login, 200, 'login')
    const [cookie = ''] = String(login.headers['set-cookie']).split(';')
    t.match(cookie, /^__Host-session=ses_/)
    requireForm(t, await call('GET', '/session', { headers: { cookie } }), 200, 'session')
    t.equal((await call('HEAD', '/session', { headers: { cookie } })).statusCode, 200)
    const own = { cookie, origin: `https://localhost:${port}` }
    requireForm(t, await call('DELETE', '/logout', { headers: own }), 204, 'logout from a page of the gateway')
    const foreign = { cookie, origin: 'https://evil.example' }
    requireForm(t, await call('DELETE', '/logout', { headers: foreign }), 403, 'logout from a foreign page')
  }
})

t.test('answers malformed and ambiguous HTTP/2 requests by a problem', async (t) => {
  const before = calls
  const large = 'x'.repeat(20_000)
  const requests: [route: string, status: number, message?: object][] = [
    ['GET /nowhere', 404],
    ['PUT /session', 405],
    ['FOO /session', 400],
    [`${large.slice(0, 9000)} /session`, 400],
    ['GET /%zz', 400],
    ['GET /session', 400, { headers: { ...headers, ':authority': 'a.example', host: 'b.example' } }],
    ['POST /auth', 400, { headers: { 'content-type': 'application/json' } }],
    ['POST /auth', 415, { headers: { 'content-type': 'text/plain', 'content-length': '2' }, json: {} }],
    ['POST /auth', 417, { headers: { expect: 'nonsense' } }],
    ['POST /auth', 413, { json: { ...credentials, password: large } }],
    ['POST /auth', 413, { json: { ...credentials, password: large }, headers: { expect: '100-continue' } }],
    ['PUT /session', 405, { json: { large } }],
    ['DELETE /logout', 400, { headers, json: { some: 'body' } }]
  ]
  for (const [route, status, message] of requests) {
    const what = `${route.slice(0, 40)} ${JSON.stringify(message ?? {}).slice(0, 80)}`
    const answer = await send(await openSession(t, port), route, message)
    requireForm(t, answer, status, what)
    t.match(answer.headers, hsts, what)
    t.equal(answer.headers.connection, undefined)
  }
  t.equal(calls, before)
  await t.rejects(send(await openSession(t, port), 'CONNECT localhost:80'), 'a tunnel')
  await until('no request is open', () => app.requestsInFlight() === 0)
  const methods = [...(await registry.metrics()).matchAll(/http_request_duration_seconds_count\{method="([^"]+)"/g)]
  t.notOk(
    methods.some(([, method]) => method === 'FOO'),
    'an unknown method is no label'
  )
  t.notMatch(lines.join(''), /FOO|xxxx/)
})

const uncounted = [['FOO /session'], ['CONNECT localhost:80'], ['GET /%zz']] as const
const contradictory = [
  ['DELETE /logout', { headers: { ':authority': 'a.example', host: 'b.example' } }],
  ['POST /auth', { headers: { expect: 'nonsense' } }]
] as const

t.test('a malformed or ambiguous request ends the connection', async (t) => {
  for (const [route, message] of [...uncounted, ...contradictory]) {
    const refused = await openSession(t, port)
    const goaway = once(refused, 'goaway')
    await send(refused, route, message).catch(() => {})
    t.equal((await goaway)[0], 0, route)
    await until('the connection is closed', () => refused.destroyed)
  }
})

t.test('the connection of a trusted proxy stays open, and its contradictory requests count', async (t) => {
  const rateLimit = limitsOf({ max: 5 })
  const { app: behind } = await buildGateway(t, {
    options: { tls, rateLimit, trustedProxies: ['127.0.0.0/8', '::1/128'] }
  })
  const proxy = await openSession(t, await listen(behind))
  for (const [route, { headers }] of contradictory) {
    const message = { headers: { ...headers, 'x-forwarded-for': newAddress() } }
    const statuses = []
    for (let count = 0; count < 7; count += 1) statuses.push((await send(proxy, route, message)).statusCode)
    const refused = 'expect' in headers ? 417 : 400
    t.same(statuses, [...Array(5).fill(refused), 429, 429])
  }
  for (const [route] of uncounted) await send(proxy, route).catch(() => {})
  t.equal((await send(proxy, 'GET /nowhere', { headers: { 'x-forwarded-for': newAddress() } })).statusCode, 404)
})

t.test('a body of unknown length is read to its end, and a reset in the middle makes no call', async (t) => {
  const before = calls
  const text = JSON.stringify(credentials)
  const complete = start(session, 'POST /reg', { headers: { 'content-type': 'application/json' } })
  complete.write(text.slice(0, 9))
  complete.end(text.slice(9))
  requireForm(t, await answerOf(complete), 201)
  t.equal(calls, before + 1)
  const other = await openSession(t, port)
  const begun = start(other, 'POST /reg', { json: credentials })
  const bodyless = start(other, 'DELETE /logout', { headers: { ...headers, 'content-type': 'application/json' } })
  for (const stream of [begun, bodyless]) stream.on('error', () => {})
  await until('the requests arrive', () => app.requestsInFlight() === 2)
  lines.length = 0
  other.destroy()
  await until('no request is open', () => app.requestsInFlight() === 0)
  await until('both are logged as closed by the client', () => lines.join('').split('"statusCode":499').length === 3)
  requireForm(t, await send(session, 'GET /session', { headers }), 200, 'the connection')
  t.equal(calls, before + 1)
})

t.test('a client that disconnects before the response cancels the upstream call', async (t) => {
  isWaiting = true
  const other = await openSession(t, port)
  const stream = start(other, 'GET /account', { headers }).on('error', () => {})
  stream.end()
  await until('the call is in progress', () => waiting !== undefined)
  stream.close(constants.NGHTTP2_CANCEL)
  await until('the call is cancelled', () => waiting?.aborted === true)
})

t.test('a client that speaks HTTP/2 without its negotiation is answered by HTTP/1.1', async (t) => {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false })
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  let text = ''
  for await (const chunk of socket) text += chunk
  t.match(text, /^HTTP\/1\.1 400 /)
})
