/** The routes for the account of a session: what they pass to the services, and what they answer. */

import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { invalidFields } from '#common/errors/connect-errors.ts'
import { sessionId } from '#common/session/session-token.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const { headers, userId, session } = user
const services = workingServices(user)
const client = { network: '127.0.0.1' }
const agent = 'Mozilla/5.0 (X11; Linux x86_64)'

/** The requests of every method, without the fields of protobuf. */
const calls: [method: string, request: object][] = []
function recorded<M extends object>(methods: M): M {
  const recording = Object.entries(methods).map(([name, method]) => {
    const record = (request: object, context: unknown) => {
      const isOwn = (key: string) => key !== '$typeName' && key !== '$unknown'
      const json = JSON.stringify(request, (key, value) => (isOwn(key) ? value : undefined))
      calls.push([name, JSON.parse(json)])
      return method(request, context)
    }
    return [name, record]
  })
  return Object.fromEntries(recording)
}
const { app, lines } = await buildGateway(t, {
  users: recorded(services.users),
  sessions: { ...recorded(services.sessions), validateSession: services.sessions.validateSession as never }
})
t.beforeEach(() => calls.splice(0))

t.test('GET /account answers the account', async (t) => {
  const answer = await app.inject({ url: '/account', headers })
  t.match(requireForm(t, answer, 200), {
    user: { id: userId, email: 'ada@example.org', emailVerified: true, createdAt: /Z$/ }
  })
  t.same(calls, [['getAccount', { userId }]])
})

t.test('an account of an older user-svc counts as not verified', async (t) => {
  const { user: account } = loginAnswer()
  const { emailVerified: _, ...older } = account
  const { app } = await buildGateway(t, { ...services, users: { getAccount: () => ({ user: older }) } })
  const body = requireForm(t, await app.inject({ url: '/account', headers }), 200)
  t.equal(body.user.emailVerified, false)
})

t.test('GET /account answers 500 to a reply without an account', async (t) => {
  for (const reply of [{}, { user: { id: '' } }, { user: { id: userId, email: 'a' } }]) {
    const { app } = await buildGateway(t, { ...services, users: { getAccount: () => reply } })
    requireForm(t, await app.inject({ url: '/account', headers }), 500)
  }
})

t.test('PUT /password answers the new session', async (t) => {
  const payload = { currentPassword: ' old \u00e4', newPassword: 'new \ud83d\udd11 ' }
  const answer = await app.inject({
    method: 'PUT',
    url: '/password',
    headers: { ...headers, 'user-agent': agent },
    payload
  })
  const body = requireForm(t, answer, 200)
  t.match(body, { session: { id: session.id, token: user.token, createdAt: /Z$/, expiresAt: /Z$/ } })
  t.same(calls, [['changePassword', { userId, ...payload, userAgent: agent, client }]])
  t.equal(answer.headers['set-cookie'], undefined)
})

t.test('PUT /password answers 500 to a reply without a session or a token', async (t) => {
  for (const reply of [{}, { session }, { token: user.token }]) {
    const { app } = await buildGateway(t, { ...services, users: { changePassword: () => reply } })
    const payload = { currentPassword: 'a', newPassword: 'b' }
    const answer = await app.inject({ method: 'PUT', url: '/password', headers, payload })
    requireForm(t, answer, 500)
    t.notMatch(answer.body, user.token)
  }
})

t.test('a password reset takes an address, then a token and a password, and no session', async (t) => {
  const request = await app.inject({ method: 'POST', url: '/password/reset', payload: { email: credentials.email } })
  requireForm(t, request, 202)
  t.equal(request.body, '')
  const payload = { token: 'token', newPassword: 'new password' }
  requireForm(t, await app.inject({ method: 'PUT', url: '/password/reset', payload }), 204)
  t.same(calls, [
    ['requestPasswordReset', { email: credentials.email }],
    ['resetPassword', { ...payload, client }]
  ])
})

t.test('an address changes by a password and a token, and is verified by a token', async (t) => {
  const payload = { email: 'new@example.org', password: 'secret' }
  requireForm(t, await app.inject({ method: 'PUT', url: '/email', headers, payload }), 202)
  requireForm(t, await app.inject({ method: 'POST', url: '/email/verification', headers }), 202)
  const verification = { method: 'PUT', url: '/email/verification', payload: { token: 'token' } } as const
  requireForm(t, await app.inject(verification), 204)
  t.same(calls, [
    ['changeEmail', { userId, ...payload, client }],
    ['requestEmailVerification', { userId }],
    ['verifyEmail', { token: 'token' }]
  ])
})

t.test('GET consumes no token of an email, because scanners follow links', async (t) => {
  for (const url of ['/password/reset?token=x', '/email/verification?token=x', '/password/reset/x']) {
    for (const method of ['GET', 'HEAD'] as const) {
      const { statusCode } = await app.inject({ method, url, headers })
      t.ok([404, 405].includes(statusCode), `${method} ${url}: ${statusCode}`)
    }
  }
  t.same(calls, [])
})

t.test('GET /sessions answers the sessions in the order of session-svc', async (t) => {
  const other = {
    ...session,
    id: 'AAAAAAAAAAAAAAAAAAAAAA',
    createdAt: timestampFromMs(1),
    userAgent: '',
    current: false
  }
  const listSessions = () => ({ sessions: [{ ...session, userAgent: agent, current: true }, other] })
  const { app } = await buildGateway(t, {
    ...services,
    sessions: { ...services.sessions, ...recorded({ listSessions }) }
  })
  const body = requireForm(t, await app.inject({ url: '/sessions', headers }), 200)
  t.match(body.sessions, [
    { id: session.id, createdAt: /Z$/, lastSeenAt: /Z$/, expiresAt: /Z$/, userAgent: agent, current: true },
    { id: other.id, createdAt: '1970-01-01T00:00:00.001Z', userAgent: '', current: false }
  ])
  t.same(Object.keys(body.sessions[0]), ['id', 'createdAt', 'lastSeenAt', 'expiresAt', 'userAgent', 'current'])
  t.same(calls, [['listSessions', { userId, currentSessionId: session.id }]])
})

t.test('DELETE /sessions keeps the session of the request', async (t) => {
  requireForm(t, await app.inject({ method: 'DELETE', url: '/sessions', headers }), 204)
  t.same(calls, [['endOtherSessions', { userId, keptSessionId: session.id, client }]])
})

t.test('DELETE /sessions/{id} names the session with the user of the request', async (t) => {
  const id = sessionId(Buffer.alloc(32, 7).toString('base64url'))
  requireForm(t, await app.inject({ method: 'DELETE', url: `/sessions/${id}`, headers }), 204)
  t.match(calls, [['deleteSession', { target: { case: 'reference', value: { userId, sessionId: id } } }]])
})

t.test('DELETE /sessions/{id} answers 400 to a text that is no id', async (t) => {
  const long = 'A'.repeat(23)
  for (const id of [
    'x',
    long,
    user.token,
    'AAAAAAAAAAAAAAAAAAAAA%20',
    '..%2f..%2fsession',
    '%00',
    'A'.repeat(21),
    ''
  ]) {
    const answer = await app.inject({ method: 'DELETE', url: `/sessions/${id}`, headers })
    const problem = requireForm(t, answer, 400, id)
    t.match(problem.errors, [{ field: 'id', code: 'invalid' }])
  }
  t.same(calls, [])
})

t.test('registration and login pass the User-Agent on, and no line contains it', async (t) => {
  for (const url of ['/reg', '/auth']) {
    await app.inject({ method: 'POST', url, payload: credentials, headers: { 'user-agent': agent } })
  }
  t.same(
    calls.map(([method, request]) => [method, (request as { userAgent?: string }).userAgent]),
    [
      ['registerAndLogin', agent],
      ['authenticateAndLogin', agent]
    ]
  )
  t.notMatch(lines.join(''), 'Mozilla')
})

t.test('names the fields that a service rejects as the request names them, with their codes', async (t) => {
  const rejected = invalidFields([
    { field: 'new_password', description: 'is too short: 8 to 256 characters are accepted', code: 'too_short' },
    { field: 'current_password', description: 'must be well-formed' }
  ])
  const changePassword = () => {
    throw rejected
  }
  const { app } = await buildGateway(t, { ...services, users: { changePassword } })
  const change = { method: 'PUT', url: '/password', headers } as const
  const problem = requireForm(
    t,
    await app.inject({ ...change, payload: { currentPassword: 'a', newPassword: 'b' } }),
    400
  )
  t.same(problem.errors, [
    {
      field: 'newPassword',
      pointer: '#/newPassword',
      code: 'too_short',
      detail: 'is too short: 8 to 256 characters are accepted'
    },
    { field: 'currentPassword', pointer: '#/currentPassword', code: 'invalid', detail: 'must be well-formed' }
  ])
  t.notMatch(problem.detail, /new_password/)
  const unknown = await app.inject({
    ...change,
    payload: { currentPassword: 'a', newPassword: 'b', new_password: 'c' }
  })
  t.match(requireForm(t, unknown, 400).errors, [{ field: 'new_password', code: 'unknown_field' }], 'of the client')
})
