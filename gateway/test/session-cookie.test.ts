/** The session cookie: every route that accepts a bearer token accepts it, and responses set, replace and clear it. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, credentials, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const other = newSession()
const { token } = user
const cookie = `__Host-session=${token}`
const byCookie = { cookie }
const set = `${cookie}; Path=/; HttpOnly; Secure; SameSite=Lax`
const cleared =
  /^__Host-session=; Max-Age=0; Path=\/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Secure; SameSite=Lax$/
const { users, sessions } = workingServices(user)

/** A session-svc that knows the sessions of the two users. */
const validateSession = ({ token }: { token: string }) => {
  const found = [user, other].find((each) => each.token === token)
  return {
    result: found ? { case: 'session' as const, value: found.session } : { case: 'invalid' as const, value: {} }
  }
}
const known = { users, sessions: { ...sessions, validateSession } }

t.test('every route that accepts a bearer token accepts the cookie', async (t) => {
  const { app } = await buildGateway(t, known)
  for (const route of routes.filter(({ needsToken }) => needsToken)) {
    const answer = await app.inject(requestOf(route, byCookie))
    requireForm(t, answer, route.success, route.name)
  }
  const head = await app.inject({ method: 'HEAD', url: '/session', headers: byCookie })
  t.equal(head.statusCode, 200)
})

t.test('finds the cookie among others', async (t) => {
  const { app } = await buildGateway(t, known)
  const accepted = [
    `a=b; ${cookie}; c=d`,
    `a=b;${cookie}`,
    `a=b; \t${cookie} `,
    `x=__Host-session=y; ${cookie}`,
    `${cookie}; ${cookie}`,
    `__host-session=x; ${cookie}`,
    `x__Host-session=y; ${cookie}`
  ]
  for (const value of accepted) {
    requireForm(t, await app.inject({ url: '/session', headers: { cookie: value } }), 200, value)
  }
  const rejected = [
    `session=${token}`,
    `__host-session=${token}`,
    `x${cookie}`,
    `a="${cookie}"`,
    `__Host-session="${token}"`,
    `__Host-session=${encodeURIComponent(`${token} `)}`,
    `__Host-session=%73${token.slice(1)}`,
    '__Host-session=',
    '__Host-session',
    `__Host-session =${token}`,
    `__Host-session=${token}x`
  ]
  for (const value of rejected) {
    requireForm(t, await app.inject({ url: '/session', headers: { cookie: value } }), 401, value)
  }
})

t.test('answers 401 to two different cookies, on every route', async (t) => {
  const { app } = await buildGateway(t, known)
  const cookies = [
    `${cookie}; __Host-session=${other.token}`,
    `${cookie}; __Host-session=`,
    `__Host-session=x; ${cookie}`
  ]
  for (const route of routes.filter(({ needsToken }) => needsToken)) {
    for (const value of cookies) {
      const answer = await app.inject(requestOf(route, { cookie: value }))
      const problem = requireForm(t, answer, 401, `${route.name} ${value}`)
      t.match(problem.detail, /two different cookies/)
      t.notMatch(answer.body, token.slice(4))
    }
  }
})

t.test('a bearer token wins over the cookie, also a malformed one; another scheme does not', async (t) => {
  const { app } = await buildGateway(t, known)
  const session = async (authorization: string) =>
    app.inject({ url: '/session', headers: { ...byCookie, authorization } })
  const answer = await session(`Bearer ${other.token}`)
  t.equal(requireForm(t, answer, 200).user.id, other.userId)
  for (const authorization of ['Bearer', 'Bearer x', `bearer ${newSession().token}`]) {
    requireForm(t, await session(authorization), 401, authorization)
  }
  t.equal(requireForm(t, await session('Basic YTpi'), 200).user.id, user.userId)
})

t.test('`cookie: true` sends the token in the cookie alone', async (t) => {
  const { app } = await buildGateway(t, known)
  const requests = [
    { method: 'POST', url: '/reg', payload: credentials },
    { method: 'POST', url: '/auth', payload: credentials },
    { method: 'PUT', url: '/password', payload: { currentPassword: 'a', newPassword: 'b' }, headers: user.headers }
  ] as const
  for (const request of requests) {
    const answer = await app.inject({ ...request, payload: { ...request.payload, cookie: true } })
    const body = requireForm(t, answer, request.url === '/reg' ? 201 : 200, request.url)
    t.equal(answer.headers['set-cookie'], set)
    t.same(Object.keys(body.session), ['id', 'createdAt', 'expiresAt'])
    t.notMatch(answer.body, token.slice(4))
    for (const value of [false, undefined]) {
      const plain = await app.inject({
        ...request,
        payload: { ...request.payload, ...(value === false && { cookie: value }) }
      })
      t.equal(plain.headers['set-cookie'], undefined, `${request.url} ${value}`)
      t.equal(plain.json().session.token, token)
    }
    for (const value of ['true', 1, null, {}, []]) {
      const invalid = await app.inject({ ...request, payload: { ...request.payload, cookie: value } })
      const problem = requireForm(t, invalid, 400, `${request.url} ${JSON.stringify(value)}`)
      t.match(problem.errors, [{ field: 'cookie', code: 'type' }])
    }
  }
})

t.test('a failed login sets no cookie and clears none', async (t) => {
  const authenticateAndLogin = () => {
    throw new ConnectError('Wrong.', Code.InvalidArgument)
  }
  const { app } = await buildGateway(t, { ...known, users: { authenticateAndLogin } })
  const payload = { ...credentials, cookie: true }
  const answer = await app.inject({ method: 'POST', url: '/auth', payload, headers: byCookie })
  requireForm(t, answer, 400)
  t.equal(answer.headers['set-cookie'], undefined)
})

t.test('PUT /password replaces the cookie that authenticated it', async (t) => {
  const { app } = await buildGateway(t, known)
  const payload = { currentPassword: 'a', newPassword: 'b' }
  const change = { method: 'PUT', url: '/password', headers: byCookie } as const
  const replaced = await app.inject({ ...change, payload })
  t.notMatch(requireForm(t, replaced, 200).session, { token: /./ })
  t.equal(replaced.headers['set-cookie'], set)
  const plain = await app.inject({ ...change, payload: { ...payload, cookie: false } })
  t.equal(requireForm(t, plain, 200).session.token, token)
  t.match(plain.headers['set-cookie'], cleared, 'its session has ended')
})

t.test('POST /auth ends the session of the cookie, and clears the cookie if it sends a token', async (t) => {
  const replaced: unknown[] = []
  const login = users.authenticateAndLogin as (request: typeof credentials) => object
  const { app } = await buildGateway(t, {
    users: {
      authenticateAndLogin(request) {
        replaced.push(request.replacesToken)
        return login(request)
      }
    }
  })
  const log = (headers: Record<string, string>, payload: object) =>
    app.inject({ method: 'POST', url: '/auth', headers, payload: { ...credentials, ...payload } })
  t.match((await log(byCookie, {})).headers['set-cookie'], cleared)
  t.equal((await log(byCookie, { cookie: true })).headers['set-cookie'], set)
  await log({ ...byCookie, ...other.headers }, {})
  await log({ cookie: `${cookie}; __Host-session=x` }, {})
  t.same(replaced, [token, token, other.token, undefined], 'two different cookies name no session')
})

t.test('DELETE /logout and /delete clear the cookie that authenticated them, also of an ended session', async (t) => {
  const { app } = await buildGateway(t, known)
  const ended = { cookie: `__Host-session=${newSession().token}` }
  const malformed = { cookie: '__Host-session=x' }
  const twice = { cookie: `${cookie}; __Host-session=x` }
  const rows: [url: string, headers: Record<string, string>, status: number, clears: boolean][] = [
    ['/logout', byCookie, 204, true],
    ['/logout', ended, 204, true],
    ['/logout', malformed, 401, true],
    ['/logout', twice, 401, true],
    ['/logout', { ...byCookie, ...other.headers }, 204, false],
    ['/logout', {}, 401, false],
    ['/delete', byCookie, 204, true],
    ['/delete', ended, 401, true],
    ['/delete', malformed, 401, true],
    ['/delete', { ...byCookie, ...other.headers }, 204, false],
    ['/delete', other.headers, 204, false]
  ]
  for (const [url, headers, status, clears] of rows) {
    const what = `${url} ${JSON.stringify(headers).slice(0, 40)}`
    const answer = await app.inject({ method: 'DELETE', url, headers })
    requireForm(t, answer, status, what)
    if (clears) t.match(answer.headers['set-cookie'], cleared, what)
    else t.equal(answer.headers['set-cookie'], undefined, what)
  }
})

t.test('an outage, an old session and a forged request keep the cookie', async (t) => {
  const fail = () => {
    throw unavailable('down')
  }
  const { app: down } = await buildGateway(t, {
    users: { logout: fail, deleteAccount: fail },
    sessions: known.sessions
  })
  const { app: blind } = await buildGateway(t, { users, sessions: { validateSession: fail } })
  const old = newSession(16 * 60_000)
  const { app: strict } = await buildGateway(t, workingServices(old))
  const forged = { ...byCookie, 'sec-fetch-site': 'cross-site' }
  const answers = [
    [await down.inject({ method: 'DELETE', url: '/logout', headers: byCookie }), 503],
    [await down.inject({ method: 'DELETE', url: '/delete', headers: byCookie }), 503],
    [await blind.inject({ method: 'DELETE', url: '/delete', headers: byCookie }), 503],
    [
      await strict.inject({ method: 'DELETE', url: '/delete', headers: { cookie: `__Host-session=${old.token}` } }),
      403
    ],
    [await down.inject({ method: 'DELETE', url: '/logout', headers: forged }), 403]
  ] as const
  for (const [answer, status] of answers) {
    requireForm(t, answer, status)
    t.equal(answer.headers['set-cookie'], undefined)
  }
})

t.test('DELETE /sessions/{id} clears the cookie of that session only', async (t) => {
  const { app } = await buildGateway(t, known)
  const end = (id: string, headers: Record<string, string>) =>
    app.inject({ method: 'DELETE', url: `/sessions/${id}`, headers })
  t.match((await end(user.session.id, byCookie)).headers['set-cookie'], cleared)
  t.equal((await end(other.session.id, byCookie)).headers['set-cookie'], undefined)
  t.equal((await end(user.session.id, user.headers)).headers['set-cookie'], undefined)
})

t.test('an ended session of a cookie is 401 with a challenge, and no line contains the token', async (t) => {
  const { app, lines } = await buildGateway(t, known)
  const ended = newSession().token
  const answer = await app.inject({ url: '/session', headers: { cookie: `__Host-session=${ended}` } })
  requireForm(t, answer, 401)
  t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"')
  t.equal(answer.headers['set-cookie'], undefined, 'a login that races this response keeps its cookie')
  await app.inject({ method: 'POST', url: '/auth', payload: { ...credentials, cookie: true }, headers: byCookie })
  t.notMatch(lines.join(''), ended.slice(4))
  t.notMatch(lines.join(''), token.slice(4))
})
