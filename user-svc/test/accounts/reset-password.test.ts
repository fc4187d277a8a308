/** Reset of a password over gRPC on the real PostgreSQL. */

import { Code, createClient } from '@connectrpc/connect'
import { Gauge, Registry } from '@prometheus-io/client'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { silentLog } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { accountRelay } from '../../outbox/account-relay.ts'
import { createOutboxRows } from '../../outbox/outbox-rows.ts'
import { createRelay } from '../../outbox/relay.ts'
import { sessionTransport } from '../service.ts'
import {
  emailsOf,
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  newestToken,
  password,
  reasonOf,
  rejectEvents,
  rejection,
  startAccountTests
} from './account-tests.ts'

const service = await startAccountTests(t)
const { client, sql, sessions, hashes } = service
const newPassword = 'another battery staple'

const { revoke } = createRelay({
  rows: createOutboxRows(service.db),
  ...accountRelay(createClient(SessionService, sessionTransport(sessions)), undefined),
  pending: new Gauge({ name: 'pending', help: 'x', registers: [new Registry()] }),
  failing: new Gauge({ name: 'failing', help: 'x', registers: [new Registry()] }),
  log: silentLog
})

/** An account with a pending reset. */
async function newReset() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  await client.requestPasswordReset({ email })
  return { email, userId, token: await newestToken(service, userId, 'reset') }
}

const reset = (token: string, written = newPassword) => client.resetPassword({ token, newPassword: written })
const rowOf = async (userId: string) => (await sql`select * from users where id = ${userId}`)[0]
const eventsOf = (userId: string) =>
  sql`select type, session_epoch, payload from outbox where user_id = ${userId} and type <> 'user.created' order by type`

t.test('changes the password, ends every session, verifies the address, and logs nobody in', async (t) => {
  const { email, userId, token } = await newReset()
  const before = await hashes()
  t.equal((await reset(token)).userId, userId)
  t.equal(await hashes(), before + 2, 'one to compare with the old password, one to store')
  t.equal(sessions.live.size, 0)
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password }))))
  const { user } = await client.authenticateAndLogin({ email, password: newPassword })
  t.equal(user?.emailVerified, true)
  t.match(await eventsOf(userId), [
    { type: 'user.email_verified', session_epoch: null },
    { type: 'user.password_changed', session_epoch: '1', payload: { reset: true } }
  ])
  t.ok((await emailsOf(sql, userId, 'reset'))[0]?.usedAt)
})

t.test('an address that was verified before keeps its time and gets no second event', async (t) => {
  const { userId, token } = await newReset()
  await client.verifyEmail({ token: await newestToken(service, userId, 'verify') })
  const verifiedAt = (await rowOf(userId))?.email_verified_at
  await reset(token)
  t.same((await rowOf(userId))?.email_verified_at, verifiedAt)
  t.equal((await eventsOf(userId)).filter(({ type }) => type === 'user.email_verified').length, 1)
})

t.test('a rejected password names the field and does not consume the token', async (t) => {
  const { email, token } = await newReset()
  for (const written of ['short', 'password1', 'x'.repeat(257), `${newPassword}\0`, email, password]) {
    const error = await rejection(reset(token, written))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), ['new_password'])
  }
  t.ok((await reset(token)).userId)
})

t.test('a password that breaks a rule is named before the token is checked', async (t) => {
  t.same(fieldsOf(await rejection(reset('x', 'short'))), ['new_password'])
})

t.test('an account without a password, or with a damaged hash, gets one', async (t) => {
  for (const stored of ['none', 'x']) {
    const { email, userId, token } = await newReset()
    await sql`update users set password_hash = ${stored} where id = ${userId}`
    await reset(token)
    t.ok((await client.authenticateAndLogin({ email, password: newPassword })).token)
  }
})

t.test('a reset of an unverified address drops the pending changes of its registrant', async (t) => {
  const { userId, token } = await newReset()
  await client.changeEmail({ userId, email: newAddress(), password })
  const planted = await newestToken(service, userId, 'change')
  await reset(token)
  t.equal(reasonOf(await rejection(client.verifyEmail({ token: planted }))), 'TOKEN_REJECTED')
})

t.test(
  'the token is rejected after a use, its expiry, a change of password, of address, a disabling and a deletion',
  async (t) => {
    const invalidations: ((account: Awaited<ReturnType<typeof newReset>>) => Promise<unknown>)[] = [
      ({ token }) => reset(token, 'yet another battery staple'),
      ({ userId }) => client.changePassword({ userId, currentPassword: password, newPassword }),
      async ({ userId }) => {
        await client.changeEmail({ userId, email: newAddress(), password })
        await client.verifyEmail({ token: await newestToken(service, userId, 'change') })
      },
      ({ userId }) => sql`update users set disabled_at = now() where id = ${userId}`,
      async (account) => {
        await sql`update emails set expires_at = now() where user_id = ${account.userId}`
        account.token = await newestToken(service, account.userId, 'reset')
      },
      ({ userId }) => client.deleteAccount({ userId })
    ]
    for (const invalidate of invalidations) {
      const account = await newReset()
      await invalidate(account)
      const before = await hashes()
      t.equal(reasonOf(await rejection(reset(account.token))), 'TOKEN_REJECTED')
      t.equal(await hashes(), before, 'a rejected token costs no hash')
    }
  }
)

t.test('a deletion while a reset is pending leaves no row', async (t) => {
  const { userId, token } = await newReset()
  await client.deleteAccount({ userId })
  t.equal((await sql`select from emails where user_id = ${userId}`).length, 0)
  t.equal(reasonOf(await rejection(reset(token))), 'TOKEN_REJECTED')
})

t.test('of clients that use one token at once, one succeeds', async (t) => {
  const { userId, token } = await newReset()
  const results = await Promise.allSettled([1, 2, 3, 4].map((n) => reset(token, `${newPassword} ${n}`)))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const each of results) if (each.status === 'rejected') t.equal(reasonOf(each.reason), 'TOKEN_REJECTED')
  t.equal((await eventsOf(userId)).length, 2)
})

t.test('while session-svc is down, the token is not consumed and nothing is hashed', async (t) => {
  const { token } = await newReset()
  sessions.serving = false
  sessions.failure = unavailable('down')
  // The session of the registration is recent, so a creation finds out that session-svc is down.
  await rejection(client.registerAndLogin({ email: newAddress(), password }))
  const before = await hashes()
  t.equal((await rejection(reset(token))).code, Code.Unavailable)
  t.equal(await hashes(), before)
  Object.assign(sessions, { serving: true, failure: undefined })
  t.ok((await reset(token)).userId)
})

t.test('a reset whose sessions cannot be ended is applied, and the relay ends them', async (t) => {
  const { email, userId, token } = await newReset()
  sessions.failureOf = (id) => (id === userId ? unavailable('down') : undefined)
  t.teardown(() => {
    sessions.failureOf = () => undefined
  })
  t.equal((await rejection(reset(token))).code, Code.DeadlineExceeded)
  t.match(await sql`select revoked_at from outbox where user_id = ${userId} and session_epoch = 1`, [
    { revoked_at: null }
  ])
  t.ok((await client.authenticateAndLogin({ email, password: newPassword })).token)
  sessions.failureOf = () => undefined
  const owned = () => [...sessions.live.values()].filter((owner) => owner === userId).length
  t.equal(owned(), 2, 'the session of the old password and that of the new one')
  await revoke()
  t.equal(owned(), 1)
})

t.test('a statement that PostgreSQL rejects changes nothing, and the token is valid afterwards', async (t) => {
  const { email, userId, token } = await newReset()
  const before = await rowOf(userId)
  const accept = await rejectEvents(sql)
  t.equal((await rejection(reset(token))).code, Code.Unavailable)
  const change = client.changePassword({ userId, currentPassword: password, newPassword })
  t.equal((await rejection(change)).code, Code.Unavailable)
  const verify = client.verifyEmail({ token: await newestToken(service, userId, 'verify') })
  t.equal((await rejection(verify)).code, Code.Unavailable)
  await accept()
  t.same(await rowOf(userId), before)
  t.equal(sessions.live.size, 1)
  t.ok((await client.authenticateAndLogin({ email, password })).token)
  t.ok((await reset(token)).userId)
})

t.test('an account whose row has the highest epoch', async (t) => {
  const { email, userId } = await newReset()
  await sql`update users set session_epoch = ${String(2n ** 53n - 1n)} where id = ${userId}`
  await sql`delete from email_limits`
  await client.requestPasswordReset({ email })
  await reset(await newestToken(service, userId, 'reset'))
  t.equal(sessions.live.size, 0)
})
