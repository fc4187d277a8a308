/** Registration over gRPC on the real PostgreSQL. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { fieldViolations, unavailable } from '#common/errors/connect-errors.ts'
import { until } from '#common/testing/until.ts'
import { newAddress, password, rejection, startAccountTests } from './account-tests.ts'

const { client, sql, sessions, hashes } = await startAccountTests(t)

t.test('creates one row and one session; the account can log in from then on', async (t) => {
  const email = newAddress()
  const { user, token } = await client.registerAndLogin({ email: email.toUpperCase(), password })
  t.equal(user?.email, email)
  t.equal(sessions.live.size, 1)
  t.match(token, /^ses_/)
  const again = await client.authenticateAndLogin({ email: email.toUpperCase(), password })
  t.equal(again.user?.id, user?.id)
  t.same(again.user?.createdAt, user?.createdAt)
  const [row] = await sql`select * from users where email = ${email}`
  t.match(row?.password_hash, /^hs384:-:\$2b\$04\$/)
})

t.test('names every invalid field at once, and none of the values', async (t) => {
  const error = await rejection(client.registerAndLogin({ email: 'nobody', password: 'hunter2' }))
  t.equal(error.code, Code.InvalidArgument)
  t.same(
    fieldViolations(error).map(({ field }) => field),
    ['email', 'password']
  )
  t.notMatch(error.message, /nobody|hunter2/)
})

t.test('of concurrent registrations of one address one succeeds, and the others leave no session', async (t) => {
  const email = newAddress()
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, () => client.registerAndLogin({ email, password }))
  )
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) {
    if (result.status === 'rejected') t.equal(ConnectError.from(result.reason).code, Code.AlreadyExists)
  }
  await until('the other sessions have ended', () => sessions.live.size === 1)
})

t.test('an insert that fails leaves neither an account nor a session', async (t) => {
  await sql`alter table users add constraint fails check (email not like '%@fails.example')`
  t.teardown(() => sql`alter table users drop constraint fails`)
  const before = sessions.live.size
  const error = await rejection(client.registerAndLogin({ email: 'ada@fails.example', password }))
  t.equal(error.code, Code.Internal)
  await until('the session has ended', () => sessions.live.size === before)
  t.equal((await sql`select * from users where email = 'ada@fails.example'`).length, 0)
})

t.test('rejects a taken address without hashing', async (t) => {
  const email = newAddress()
  await client.registerAndLogin({ email, password })
  const before = await hashes()
  t.equal((await rejection(client.registerAndLogin({ email, password }))).code, Code.AlreadyExists)
  t.equal(await hashes(), before)
})

t.test('while session-svc is unavailable, hashes nothing and creates no account', async (t) => {
  const email = newAddress()
  sessions.serving = false
  sessions.failure = unavailable('down')
  const register = async () => (await rejection(client.registerAndLogin({ email, password }))).code
  // A session of another test may be recent, so the first call finds out that session-svc is down.
  t.equal(await register(), Code.Unavailable)
  const before = await hashes()
  t.equal(await register(), Code.Unavailable)
  t.equal(await hashes(), before)
  sessions.serving = true
  t.equal(await register(), Code.Unavailable)
  t.equal(await hashes(), before + 1, 'session-svc failed after the hash')
  t.equal((await sql`select from users where email = ${email}`).length, 0)
})
