/** Incomplete or contradictory replies of the services: none of them authorises a request or logs a user in. */

import { clone, create, type MessageInitShape } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { type Session, SessionSchema, type ValidateSessionResponse } from '#gen/session/v1/session_pb.ts'
import type { AuthenticateAndLoginResponseSchema } from '#gen/user/v1/user_pb.ts'
import { buildGateway, credentials, loginAnswer, newSession, requireForm, serveUpstreams } from './gateway.ts'
import { asOlderServer } from './validate-each.ts'

type LoggedIn = Omit<MessageInitShape<typeof AuthenticateAndLoginResponseSchema>, '$typeName'>

const { session, headers } = newSession()
let validated: Pick<ValidateSessionResponse, 'result'>
let loggedIn: LoggedIn
let deletions = 0

// Over HTTP/2, so that a reply is what can really arrive.
const users = {
  registerAndLogin: () => loggedIn,
  authenticateAndLogin: () => loggedIn,
  deleteAccount: () => {
    deletions += 1
    return {}
  }
}
const sessions = { validateSession: () => validated }
const { parts } = await serveUpstreams(t, { users, sessions })
const { app } = await buildGateway(t, { parts })
const { parts: olderParts } = await serveUpstreams(t, { users, sessions: asOlderServer(sessions) })
const { app: besideOlder } = await buildGateway(t, { parts: olderParts })

/** The session with some parts replaced. */
function changed(parts: Partial<Session>): Pick<ValidateSessionResponse, 'result'> {
  return { result: { case: 'session', value: Object.assign(clone(SessionSchema, session), parts) } }
}

t.test('accepts a complete session', async (t) => {
  validated = changed({})
  for (const gateway of [app, besideOlder]) {
    requireForm(t, await gateway.inject({ url: '/session', headers }), 200)
  }
})

const malformed: Record<string, Pick<ValidateSessionResponse, 'result'>> = {
  'no result': { result: { case: undefined } },
  'an empty session': { result: { case: 'session', value: create(SessionSchema) } },
  'no user id': changed({ userId: '' }),
  'no session id': changed({ id: '' }),
  'another user than the token': changed({ userId: newSession().userId }),
  'no creation time': changed({ createdAt: undefined }),
  'no expiry': changed({ expiresAt: undefined }),
  'an invalid time': changed({ expiresAt: timestampFromMs(Number.MAX_SAFE_INTEGER) })
}
for (const [what, reply] of Object.entries(malformed)) {
  t.test(`answers 503 to a validation with ${what}`, async (t) => {
    validated = reply
    for (const gateway of [app, besideOlder]) {
      const answer = await gateway.inject({ url: '/session', headers })
      requireForm(t, answer, 503, what)
      t.match(answer.headers['retry-after'], /^\d+$/)
      t.notOk('x-user-id' in answer.headers || 'x-session-id' in answer.headers, 'a proxy must not see an identity')
      const deletion = await gateway.inject({ method: 'DELETE', url: '/delete', headers })
      t.not(deletion.statusCode, 204, 'nothing is deleted')
      t.not(deletion.statusCode, 401)
      t.equal(deletions, 0)
      deletions = 0
    }
  })
}

t.test('answers 500 to a login or registration with a missing field', async (t) => {
  const whole = loginAnswer()
  const lacking: Record<string, LoggedIn> = {
    everything: {},
    token: { ...whole, token: '' },
    user: { token: whole.token, session: whole.session },
    session: { token: whole.token, user: whole.user },
    'id of the user': { ...whole, user: { ...whole.user, id: '' } },
    'id of the session': { ...whole, session: { ...whole.session, id: '' } },
    'time of creation': { ...whole, user: { id: whole.user.id, email: 'a' } }
  }
  for (const [what, reply] of Object.entries(lacking)) {
    loggedIn = reply
    for (const url of ['/reg', '/auth']) {
      const answer = await app.inject({ method: 'POST', url, payload: credentials })
      requireForm(t, answer, 500, `${url} without ${what}`)
      t.notMatch(answer.body, whole.token)
    }
  }
})
