/** CreateUser over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import {
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from '../accounts/account-tests.ts'

const { admin, client, sql, sessions, hashes } = await startAccountTests(t)

const eventsOf = async (userId = '') => {
  const rows = await sql`select type from outbox where user_id = ${userId} order by id`
  return rows.map(({ type }) => type)
}

t.test('creates an account with a password, without a session', async (t) => {
  const email = newAddress()
  const { user } = await admin.createUser({ email: email.toUpperCase(), password, emailVerified: true })
  t.match(user, { email, passwordScheme: 'bcrypt' })
  t.ok(user?.emailVerifiedAt)
  t.equal(sessions.live.size, 0)
  t.same(await eventsOf(user?.id), ['user.created', 'user.email_verified'])
  const { user: shown } = await admin.getUser({ key: { case: 'email', value: email } })
  t.same(shown, user)
  t.equal((await client.authenticateAndLogin({ email, password })).user?.id, user?.id)
})

t.test('an account without a password has no login', async (t) => {
  const email = newAddress()
  const before = await hashes()
  const { user } = await admin.createUser({ email })
  t.equal(await hashes(), before, 'nothing is hashed')
  t.equal(user?.passwordScheme, 'none')
  t.equal(user?.emailVerifiedAt, undefined)
  t.same(await eventsOf(user?.id), ['user.created'])
  for (const each of ['none', '', password]) {
    t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password: each }))))
  }
})

t.test('a taken address is rejected before anything is hashed, also if it is taken meanwhile', async (t) => {
  const email = newAddress()
  await admin.createUser({ email })
  const before = await hashes()
  for (const request of [{ email }, { email, password }]) {
    const error = await rejection(admin.createUser(request))
    t.equal(error.code, Code.AlreadyExists)
    t.equal(reasonOf(error), 'ADDRESS_TAKEN')
  }
  t.equal(await hashes(), before)
  const other = newAddress()
  const calls = await Promise.allSettled([1, 2, 3].map(() => admin.createUser({ email: other, password })))
  t.equal(calls.filter(({ status }) => status === 'fulfilled').length, 1)
})

t.test('the rules of address and password are those of a registration', async (t) => {
  for (const [request, fields] of [
    [{}, ['email']],
    [{ email: 'x', password: 'short' }, ['email', 'password']],
    [{ email: newAddress(), password: '' }, ['password']],
    [{ email: newAddress(), password: 'password1' }, ['password']],
    [{ email: newAddress(), password: 'nul \0 in the password' }, ['password']]
  ] as const) {
    t.same(fieldsOf(await rejection(admin.createUser(request))), fields)
  }
})
