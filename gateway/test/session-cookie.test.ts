/** The session cookie as a credential: every route that accepts a bearer token accepts it, and logins set it. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { requestOf, routes } from './all-routes.ts'
import { buildGateway, credentials, newSession, requireForm, workingServices } from './gateway.ts'

const user = newSession()
const other = newSession()
const { token } = user
const cookie = `__Host-session=${token}`
const byCookie = { cookie }
const set = `${cookie}; Path=/; HttpOnly; Secure; SameSite=Lax`
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
