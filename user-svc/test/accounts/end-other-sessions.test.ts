/** The end of all sessions but one over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { sessionId } from '#common/session/session-token.ts'
import { fieldsOf, newAddress, password, reasonOf, rejection, startAccountTests } from './account-tests.ts'

const { client, sql, sessions } = await startAccountTests(t)

async function newAccount() {
  const { user, session } = await client.registerAndLogin({ email: newAddress(), password })
  return { userId: user?.id as string, keptSessionId: session?.id as string, email: user?.email as string }
}

t.test('ends the others, keeps one, and writes an event with the raised epoch', async (t) => {
  const { userId, keptSessionId, email } = await newAccount()
  await client.authenticateAndLogin({ email, password })
  await client.authenticateAndLogin({ email, password })
  t.equal((await client.endOtherSessions({ userId, keptSessionId })).endedSessions, 2)
  t.same([...sessions.live.keys()].map(sessionId), [keptSessionId])
  t.match(
    await sql`select type, session_epoch, payload from outbox where user_id = ${userId} and type <> 'user.created'`,
    [{ type: 'user.sessions_ended', session_epoch: '1', payload: { keptSessionId } }]
  )
})

t.test('a session that has ended stays ended', async (t) => {
  const { userId } = await newAccount()
  t.equal((await client.endOtherSessions({ userId, keptSessionId: 'A'.repeat(22) })).endedSessions, 1)
  t.equal(sessions.live.size, 0)
})

t.test('an outage after the statement leaves the rest to the relay', async (t) => {
  const { userId, keptSessionId } = await newAccount()
  sessions.failure = unavailable('down')
  t.equal((await rejection(client.endOtherSessions({ userId, keptSessionId }))).code, Code.DeadlineExceeded)
  t.equal((await sql`select from outbox where user_id = ${userId} and session_epoch = 1`).length, 1)
})

t.test('an account whose row has the highest epoch', async (t) => {
  const { userId, keptSessionId, email } = await newAccount()
  await sql`update users set session_epoch = ${String(2n ** 52n)} where id = ${userId}`
  await client.authenticateAndLogin({ email, password })
  t.equal(
    (await client.endOtherSessions({ userId, keptSessionId })).endedSessions,
    2,
    'no epoch tells the sessions apart'
  )
})

t.test('names invalid fields, and an unknown account', async (t) => {
  const userId = '01a20865-c3ab-7767-969e-45618cbf1309'
  const invalid = await rejection(client.endOtherSessions({ userId: 'x', keptSessionId: '' }))
  t.same(fieldsOf(invalid), ['user_id', 'kept_session_id'])
  const unknown = await rejection(client.endOtherSessions({ userId, keptSessionId: 'A'.repeat(22) }))
  t.equal(reasonOf(unknown), 'ACCOUNT_NOT_FOUND')
})
