/** The five routes when all is well, and what they do with the token that a request carries or should carry. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { reasoned } from '#common/errors/connect-errors.ts'
import { createToken } from '#common/session/session-token.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm } from './gateway.ts'

const login = loginAnswer()
const loginBody = {
  user: { id: login.user.id, email: 'ada@example.org', createdAt: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ },
  session: { id: login.session.id, token: login.token, createdAt: /Z$/, expiresAt: /Z$/ }
}

t.test('registration answers 201 with the account and its session', async (t) => {
  const seen: unknown[] = []
  const registerAndLogin = ({ email, password }: typeof credentials) => {
    seen.push({ email, password })
    return login
  }
  const { app } = await buildGateway(t, { users: { registerAndLogin } })
  const odd = { email: ' Ada@Example.org ', password: ' p\u00e4ss\ud83d\udd11 \t' }
  const body = requireForm(t, await app.inject({ method: 'POST', url: '/reg', payload: odd }), 201)
  t.match(body, loginBody)
  t.same(Object.keys(body.user), ['id', 'email', 'createdAt'])
  t.same(Object.keys(body.session), ['id', 'token', 'createdAt', 'expiresAt'])
  t.same(seen, [odd], 'nothing is trimmed, changed or coerced on the way')
})

t.test('a log-in answers 200, and passes a well-formed old token on, but not garbage', async (t) => {
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

t.test('the session answers its owner in body and headers', async (t) => {
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

t.test('log-out answers 204 without asking whose session it is', async (t) => {
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
  // Clients that set it on everything send a type without a body.
  for (const more of [{}, { 'content-type': 'application/json' }]) {
    const answer = await app.inject({ method: 'DELETE', url: '/logout', headers: { ...headers, ...more } })
    requireForm(t, answer, 204)
    t.equal(answer.body, '')
  }
  t.same(ended, [token, token])
})

t.test('a fresh session deletes its own account, an old one is 403, an ended one 401', async (t) => {
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

t.test('without a well-formed token nobody is asked, and it is 401 with a challenge', async (t) => {
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
  for (const [method, path] of [
    ['GET', '/session'],
    ['DELETE', '/logout'],
    ['DELETE', '/delete']
  ] as const) {
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
  t.notMatch(lines.join(''), token.slice(4, -1), 'a token in a URL is in no line')
})

t.test('refusals of credentials and of taken addresses keep their sentence', async (t) => {
  const { app } = await buildGateway(t, {
    users: {
      registerAndLogin: () => {
        throw new ConnectError('An account with this address exists.', Code.AlreadyExists)
      },
      authenticateAndLogin: () => {
        const reason = { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' }
        throw reasoned(Code.Unauthenticated, 'The address or the password is wrong.', reason)
      }
    }
  })
  const taken = requireForm(t, await app.inject({ method: 'POST', url: '/reg', payload: credentials }), 409)
  t.equal(taken.detail, 'An account with this address exists.')
  const refused = await app.inject({ method: 'POST', url: '/auth', payload: credentials })
  t.equal(requireForm(t, refused, 401).detail, 'The address or the password is wrong.')
  t.match(refused.headers['www-authenticate'], /^Bearer/)
})
