/** Reading an account over gRPC on the real PostgreSQL. */

import t from 'tap'
import { fieldsOf, newAddress, password, reasonOf, rejection, startAccountTests } from './account-tests.ts'

const { client, sql } = await startAccountTests(t)

t.test('returns the account as registration and login do', async (t) => {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  t.equal(user?.emailVerified, false)
  t.same((await client.getAccount({ userId })).user, user)
  t.same((await client.authenticateAndLogin({ email, password })).user, user)
  await sql`update users set email_verified_at = now() where id = ${userId}`
  t.equal((await client.getAccount({ userId })).user?.emailVerified, true)
  t.equal((await client.authenticateAndLogin({ email, password })).user?.emailVerified, true)
})

t.test('names an invalid id, and an unknown account', async (t) => {
  t.same(fieldsOf(await rejection(client.getAccount({ userId: 'x' }))), ['user_id'])
  const userId = '01a20865-c3ab-7767-969e-45618cbf1309'
  t.equal(reasonOf(await rejection(client.getAccount({ userId }))), 'ACCOUNT_NOT_FOUND')
})
