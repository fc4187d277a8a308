/** The responses of the routes while every service works, and the token of a request. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { errorWithReason } from '#common/errors/connect-errors.ts'
import { createToken } from '#common/session/session-token.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { routes } from './all-routes.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm } from './gateway.ts'

const login = loginAnswer()
const loginBody = {
  user: { id: login.user.id, email: 'ada@example.org', emailVerified: false, createdAt: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ },
  session: { id: login.session.id, token: login.token, createdAt: /Z$/, expiresAt: /Z$/ }
}

t.test('POST /reg answers 201 with the account and its session', async (t) => {
  const seen: unknown[] = []
  const registerAndLogin = ({ email, password }: typeof credentials) => {
    seen.push({ email, password })
    return login
  }
  const { app } = await buildGateway(t, { users: { registerAndLogin } })
  const odd = { email: ' Ada@Example.org ', password: ' p\u00e4ss\ud83d\udd11 \t' }
  const body = requireForm(t, await app.inject({ method: 'POST', url: '/reg', payload: odd }), 201)
  t.match(body, loginBody)
  t.same(Object.keys(body.user), ['id', 'email', 'emailVerified', 'createdAt'])
  t.same(Object.keys(body.session), ['id', 'createdAt', 'expiresAt', 'token'])
  t.same(seen, [odd], 'user-svc gets the credentials unchanged')
})

t.test('POST /auth answers 200, and passes on the token that the login replaces if it is well-formed', async (t) => {
  const replaced: unknown[] = []
  const { app } = await buildGateway(t, {
    users: {
      authenticateAndLogin(request) {
        replaced.push(request.replacesToken)
        return login
      }
    }
  })
  const { token } = newSession()
  const credential = [undefined, `Bearer ${token}`, `bearer  ${token} `, 'Bearer garbage', `Basic ${token}`, token]
  for (const authorization of credential) {
    const headers = authorization === undefined ? {} : { authorization }
    const answer = await app.inject({ method: 'POST', url: '/auth', payload: credentials, headers })
    t.match(requireForm(t, answer, 200, authorization), loginBody)
  }
  t.same(replaced, [undefined, token, token, undefined, undefined, undefined])
})

t.test('GET /session answers 200 with the session, also in X-User-Id and X-Session-Id', async (t) => {
  const { token, session, userId, headers } = newSession()
  const { app } = await buildGateway(t, {
    sessions: {
      validateSession(request) {
        t.equal(request.token, token)
        return { result: { case: 'session', value: session } }
      }
    }
  })
  for (const url of ['/session', '/session?token=x&a=b']) {
    const answer = await app.inject({ url, headers })
    const body = requireForm(t, answer, 200)
    t.match(answer.headers, { 'x-user-id': userId, 'x-session-id': session.id })
    t.match(body, {
      user: { id: userId },
      session: { id: session.id, createdAt: /Z$/, lastSeenAt: /Z$/, expiresAt: /Z$/ }
    })
    t.same(Object.keys(body.session), ['id', 'createdAt', 'lastSeenAt', 'expiresAt'])
    t.notMatch(answer.body + JSON.stringify(answer.headers), token)
  }
  const head = await app.inject({ method: 'HEAD', url: '/session', headers })
  t.match([head.statusCode, head.headers['x-user-id'], head.body], [200, userId, ''])
})

t.test('DELETE /logout answers 204 without a validation', async (t) => {
  const ended: string[] = []
  const { app } = await buildGateway(t, {
    users: {
      logout({ token }) {
        ended.push(token)
        return {}
      }
    }
  })
  const { token, headers } = newSession()
  // Some clients send the type with every request.
  for (const more of [{}, { 'content-type': 'application/json' }]) {
    const answer = await app.inject({ method: 'DELETE', url: '/logout', headers: { ...headers, ...more } })
    requireForm(t, answer, 204)
    t.equal(answer.body, '')
  }
  t.same(ended, [token, token])
})

t.test('DELETE /delete answers 204 to a recent session, 403 to an old one, 401 to an ended one', async (t) => {
  const deleted: string[] = []
  const sessions = [newSession(1000), newSession(16 * 60_000)] as const
  const { app } = await buildGateway(t, {
    users: {
      deleteAccount({ userId }) {
        deleted.push(userId)
        return {}
      }
    },
    sessions: {
      validateSession({ token }) {
        const found = sessions.find((each) => each.token === token)
        return { result: found ? { case: 'session', value: found.session } : { case: 'invalid', value: {} } }
      }
    }
  })
  const [fresh, old] = sessions
  requireForm(t, await app.inject({ method: 'DELETE', url: '/delete', headers: fresh.headers }), 204)
  requireForm(t, await app.inject({ method: 'DELETE', url: '/delete', headers: old.headers }), 403)
  requireForm(t, await app.inject({ method: 'DELETE', url: '/delete', headers: newSession().headers }), 401)
  t.same(deleted, [fresh.userId])
})

t.test('GET /session answers 401 for every reason why a session is invalid', async (t) => {
  const { headers } = newSession()
  for (const reason of [InvalidReason.NOT_FOUND, InvalidReason.REVOKED, InvalidReason.MALFORMED]) {
    const validateSession = () => ({ result: { case: 'invalid' as const, value: { reason } } })
    const { app } = await buildGateway(t, { sessions: { validateSession } })
    const answer = await app.inject({ url: '/session', headers })
    requireForm(t, answer, 401, `reason ${reason}`)
    t.equal(answer.headers['www-authenticate'], 'Bearer error="invalid_token"')
  }
})

t.test('answers 401 with a challenge, without any call, to a request without a well-formed token', async (t) => {
  let calls = 0
  const count = () => {
    calls += 1
    return {}
  }
  const { app, lines } = await buildGateway(t, {
    users: { logout: count, deleteAccount: count },
    sessions: { validateSession: count }
  })
  const { token } = createToken(newSession().userId)
  const flipped = token.slice(0, -1) + (token.endsWith('A') ? 'B' : 'A')
  const bad = ['Bearer', `Bearer ${token.slice(0, -1)}`, `Bearer ${flipped}`, `Bearer ${token}=`, `Bearer x${token}`]
  bad.push(`Basic ${token}`, token, `Bearer ${token} x`, `Bearer,${token}`, `Bearer ${token.toLowerCase()}`, '')
  for (const { method, url: path } of routes.filter(({ needsToken }) => needsToken)) {
    const bare = await app.inject({ method, url: `${path}?token=${token}&access_token=${token}` })
    requireForm(t, bare, 401, path)
    t.equal(bare.headers['www-authenticate'], 'Bearer', 'RFC 6750, 3.1: no error code without a credential')
    for (const authorization of bad) {
      const answer = await app.inject({ method, url: path, headers: { authorization } })
      requireForm(t, answer, 401, `${path} ${authorization}`)
      t.match(answer.headers['www-authenticate'], /^Bearer/)
      t.notMatch(answer.body, token.slice(4, -1))
    }
    const cookie = await app.inject({ method, url: path, headers: { cookie: `token=${token}`, 'x-token': token } })
    requireForm(t, cookie, 401, `${path} by cookie`)
  }
  t.equal(calls, 0)
  t.notMatch(lines.join(''), token.slice(4, -1), 'no line contains the token of a URL')
})

t.test('keeps the sentence of user-svc for rejected credentials and taken addresses', async (t) => {
  const { app } = await buildGateway(t, {
    users: {
      registerAndLogin: () => {
        throw new ConnectError('An account with this address exists.', Code.AlreadyExists)
      },
      authenticateAndLogin: () => {
        const reason = { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' }
        throw errorWithReason(Code.Unauthenticated, 'The address or the password is wrong.', reason)
      }
    }
  })
  const taken = requireForm(t, await app.inject({ method: 'POST', url: '/reg', payload: credentials }), 409)
  t.equal(taken.detail, 'An account with this address exists.')
  const refused = await app.inject({ method: 'POST', url: '/auth', payload: credentials })
  t.equal(requireForm(t, refused, 401).detail, 'The address or the password is wrong.')
  t.match(refused.headers['www-authenticate'], /^Bearer/)
})
