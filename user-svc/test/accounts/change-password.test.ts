/** Change of a password over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { parseToken } from '#common/session/session-token.ts'
import {
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from './account-tests.ts'

const { client, sql, sessions, hashes } = await startAccountTests(t)
const newPassword = 'another battery staple'

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

const change = (userId: string, others: object = {}) =>
  client.changePassword({ userId, currentPassword: password, newPassword, ...others })
const rowOf = async (userId: string) => (await sql`select * from users where id = ${userId}`)[0]

t.test('changes the hash, ends every session, and creates one with the new epoch', async (t) => {
  const { email, userId } = await newAccount()
  await client.authenticateAndLogin({ email, password })
  const { session, token } = await change(userId, { userAgent: 'Firefox' })
  t.equal(session?.userId, userId)
  const hash = parseToken(token)?.hash as string
  t.same([...sessions.live.keys()], [hash], 'the new session is the only one')
  t.match(sessions.created.get(hash), { epoch: 1n, userAgent: 'Firefox' })
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password }))))
  t.ok((await client.authenticateAndLogin({ email, password: newPassword })).token)
  t.match(
    await sql`select type, session_epoch, payload from outbox where user_id = ${userId} and type <> 'user.created'`,
    [{ type: 'user.password_changed', session_epoch: '1', payload: { reset: false } }]
  )
})

t.test('a wrong current password changes nothing and ends no session', async (t) => {
  const { userId } = await newAccount()
  const before = await rowOf(userId)
  for (const currentPassword of ['wrong password', '', `${password}\0`, 'x'.repeat(5000)]) {
    t.equal(reasonOf(await rejection(change(userId, { currentPassword }))), 'WRONG_PASSWORD')
  }
  t.same(await rowOf(userId), before)
  t.equal(sessions.live.size, 1)
})

t.test('a new password that breaks a rule is named, without a hash', async (t) => {
  const { email, userId } = await newAccount()
  const before = await hashes()
  const composed = 'correct-horse-\u00e9'
  const bad = [
    { newPassword: 'short' },
    { newPassword: 'password1' },
    { newPassword: 'x'.repeat(257) },
    { newPassword: `${newPassword}\0` },
    { newPassword: email.toUpperCase() },
    { newPassword: password },
    { currentPassword: composed, newPassword: composed.normalize('NFD') }
  ]
  for (const each of bad) {
    const error = await rejection(change(userId, each))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), ['new_password'])
  }
  t.equal(await hashes(), before)
  t.same(fieldsOf(await rejection(change('x', { newPassword: 'short' }))), ['user_id', 'new_password'])
})

t.test('an unknown account is not found', async (t) => {
  const userId = '01a20865-c3ab-7767-969e-45618cbf1309'
  t.equal(reasonOf(await rejection(change(userId))), 'ACCOUNT_NOT_FOUND')
})

t.test('an account without a password has a wrong one, at the cost of a check', async (t) => {
  const { userId } = await newAccount()
  await sql`update users set password_hash = 'none' where id = ${userId}`
  const before = await hashes()
  for (const currentPassword of [password, 'none']) {
    t.equal(reasonOf(await rejection(change(userId, { currentPassword }))), 'WRONG_PASSWORD')
  }
  t.equal(await hashes(), before + 2)
})

t.test('a disabled account is named after the correct password only', async (t) => {
  const { userId } = await newAccount()
  await sql`update users set disabled_at = now() where id = ${userId}`
  t.equal(reasonOf(await rejection(change(userId, { currentPassword: 'wrong password' }))), 'WRONG_PASSWORD')
  t.equal(reasonOf(await rejection(change(userId))), 'ACCOUNT_DISABLED')
})

t.test('of concurrent changes one succeeds, and its session is the only one', async (t) => {
  const { userId } = await newAccount()
  const changes = [1, 2, 3, 4].map((n) => change(userId, { newPassword: `${newPassword} ${n}` }))
  const results = await Promise.allSettled(changes)
  const tokens = results.flatMap((each) => (each.status === 'fulfilled' ? [each.value.token] : []))
  t.equal(tokens.length, 1)
  t.same([...sessions.live.keys()], [parseToken(tokens[0] as string)?.hash])
  for (const each of results) if (each.status === 'rejected') t.equal(reasonOf(each.reason), 'WRONG_PASSWORD')
})

t.test('while session-svc is down, nothing is hashed or changed', async (t) => {
  const { userId } = await newAccount()
  sessions.serving = false
  sessions.failure = unavailable('down')
  // The session of the registration is recent, so a creation finds out that session-svc is down.
  await rejection(client.registerAndLogin({ email: newAddress(), password }))
  const before = await hashes()
  for (const currentPassword of [password, 'wrong password']) {
    t.equal((await rejection(change(userId, { currentPassword }))).code, Code.Unavailable)
  }
  t.equal(await hashes(), before)
  t.equal((await rowOf(userId))?.session_epoch, '0')
})

t.test('a change whose sessions cannot be ended is applied, so its outcome is unknown', async (t) => {
  const { email, userId } = await newAccount()
  sessions.failureOf = (id) => (id === userId ? unavailable('down') : undefined)
  t.teardown(() => {
    sessions.failureOf = () => undefined
  })
  t.equal((await rejection(change(userId))).code, Code.DeadlineExceeded)
  t.match(await sql`select session_epoch from outbox where user_id = ${userId} and session_epoch is not null`, [
    { session_epoch: '1' }
  ])
  t.ok((await client.authenticateAndLogin({ email, password: newPassword })).token)
})

t.test('a change whose new session cannot be created is applied, so its outcome is unknown', async (t) => {
  const { userId } = await newAccount()
  sessions.beforeCreate = () => {
    throw unavailable('down')
  }
  t.equal((await rejection(change(userId))).code, Code.DeadlineExceeded)
  t.equal(sessions.live.size, 0)
})
