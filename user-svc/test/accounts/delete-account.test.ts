/** Deletion of an account over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { hasRejectedCredentials, newAddress, password, rejection, startAccountTests } from './account-tests.ts'

const { client, sql, sessions } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

t.test('deletes the row, ends the sessions, writes an event, and frees the address', async (t) => {
  const { email, userId } = await newAccount()
  await client.deleteAccount({ userId })
  t.equal((await sql`select from users where id = ${userId}`).length, 0)
  t.equal(sessions.live.size, 0)
  t.match(await sql`select type, session_epoch from outbox where user_id = ${userId} order by id`, [
    { type: 'user.created', session_epoch: null },
    { type: 'user.deleted', session_epoch: '1' }
  ])
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password }))))
  t.ok((await client.registerAndLogin({ email, password })).token)
})

t.test('a deletion that was interrupted before the sessions ended is completed by a repeated call', async (t) => {
  const { userId } = await newAccount()
  sessions.failure = unavailable('down')
  const { code } = await rejection(client.deleteAccount({ userId }))
  t.equal(code, Code.DeadlineExceeded, 'not `unavailable`, because the row is deleted')
  t.equal((await sql`select from users where id = ${userId}`).length, 0)
  t.equal(sessions.live.size, 1)
  sessions.failure = undefined
  await client.deleteAccount({ userId })
  await client.deleteAccount({ userId })
  t.equal(sessions.live.size, 0)
  t.equal(sessions.lowestEpochs.get(userId), 1n)
  t.equal((await sql`select from outbox where user_id = ${userId} and type = 'user.deleted'`).length, 1)
})

t.test('ends the sessions of an account that a restored database does not know', async (t) => {
  const { userId } = await newAccount()
  await sql`delete from users where id = ${userId}`
  await client.deleteAccount({ userId })
  t.notOk([...sessions.live.values()].includes(userId))
})

fieldCase(t, 22, 'an account whose row has the highest epoch can be deleted', async (t) => {
  const { email, userId } = await newAccount()
  await sql`update users set session_epoch = ${String(2n ** 63n - 1n)} where id = ${userId}`
  await client.deleteAccount({ userId })
  t.match(await sql`select session_epoch from outbox where user_id = ${userId} and type = 'user.deleted'`, [
    { session_epoch: String(2n ** 52n) }
  ])
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password }))))
})
