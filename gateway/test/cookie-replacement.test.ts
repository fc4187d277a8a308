/** The end of a session cookie: responses replace or clear it, and an outage keeps it. */

import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
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
