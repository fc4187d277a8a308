/** Logins of accounts that are disabled, unverified or without a password, on the real PostgreSQL. */

import t from 'tap'
import { startUserSvc } from '../service.ts'
import {
  hasRejectedCredentials,
  newAddress,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from './account-tests.ts'

const { client, sql, sessions, hashes } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

t.test('a disabled account is named after the correct password only', async (t) => {
  const { email, userId } = await newAccount()
  await sql`update users set disabled_at = now() where id = ${userId}`
  sessions.live.clear()
  const before = await hashes()
  const wrong = await rejection(client.authenticateAndLogin({ email, password: 'wrong password' }))
  const unknown = await rejection(client.authenticateAndLogin({ email: newAddress(), password }))
  t.equal(await hashes(), before + 2)
  t.equal(wrong.message, unknown.message)
  t.same(wrong.details, unknown.details)
  t.equal(reasonOf(await rejection(client.authenticateAndLogin({ email, password }))), 'ACCOUNT_DISABLED')
  t.equal(sessions.live.size, 0)
})

t.test('an account without a password costs a check, and rejects every password', async (t) => {
  const { email, userId } = await newAccount()
  await sql`update users set password_hash = 'none' where id = ${userId}`
  const before = await hashes()
  for (const each of [password, 'none', '']) {
    t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password: each }))))
  }
  t.equal(await hashes(), before + 3)
})

t.test('a verified address is required only if configured', async (t) => {
  const strict = await startUserSvc(t, { requireVerifiedEmail: true })
  const email = newAddress()
  const { user, token } = await strict.client.registerAndLogin({ email, password })
  t.ok(token, 'a registration creates a session')
  const logIn = (written = password) => strict.client.authenticateAndLogin({ email, password: written })
  t.equal(reasonOf(await rejection(logIn('wrong password'))), 'CREDENTIALS_REJECTED')
  t.equal(reasonOf(await rejection(logIn())), 'EMAIL_NOT_VERIFIED')
  await strict.sql`update users set email_verified_at = now() where id = ${user?.id as string}`
  t.ok((await logIn()).token)
})
