/** DisableUser, EnableUser, EndSessions, DeleteUser and RequestPasswordReset over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { fieldsOf, newAddress, password, reasonOf, rejection, startAccountTests } from '../accounts/account-tests.ts'
import { startUserSvc } from '../service.ts'

const { admin, client, sql, sessions } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

const logIn = (email: string) => client.authenticateAndLogin({ email, password })
const epochOf = async (userId: string) =>
  (await sql`select session_epoch from users where id = ${userId}`)[0]?.session_epoch
const events = async (userId: string) => {
  const rows = await sql`select type, session_epoch from outbox where user_id = ${userId} order by id`
  return rows.map(({ type, session_epoch }) => [type, session_epoch]).filter(([type]) => type !== 'user.created')
}

t.test('a disabled account has no session and no login until it is enabled', async (t) => {
  const { email, userId } = await newAccount()
  await logIn(email)
  const { user } = await admin.disableUser({ userId })
  t.ok(user?.disabledAt)
  t.equal(user?.id, userId)
  t.equal(sessions.live.size, 0)
  t.equal(reasonOf(await rejection(logIn(email))), 'ACCOUNT_DISABLED')
  t.equal(await epochOf(userId), '1')
  const { user: enabled } = await admin.enableUser({ userId })
  t.equal(enabled?.disabledAt, undefined)
  t.ok((await logIn(email)).token)
  t.same(await events(userId), [
    ['user.disabled', '1'],
    ['user.enabled', null]
  ])
})

t.test('a repeated call changes nothing and writes no event', async (t) => {
  const { userId } = await newAccount()
  const { user: first } = await admin.disableUser({ userId })
  const { user: second } = await admin.disableUser({ userId })
  t.same(second?.disabledAt, first?.disabledAt)
  t.equal(await epochOf(userId), '1')
  t.same(await events(userId), [['user.disabled', '1']])
  for (const _ of [1, 2]) await admin.enableUser({ userId })
  t.same(await events(userId), [
    ['user.disabled', '1'],
    ['user.enabled', null]
  ])
})

t.test('concurrent calls write one event', async (t) => {
  const { userId } = await newAccount()
  await Promise.all([1, 2, 3, 4].map(() => admin.disableUser({ userId })))
  t.same(await events(userId), [['user.disabled', '1']])
})

t.test('a call whose revocation failed is no `unavailable`, and a repeated call ends the sessions', async (t) => {
  const { email, userId } = await newAccount()
  sessions.failure = unavailable('down')
  for (const change of [() => admin.disableUser({ userId }), () => admin.endSessions({ userId })]) {
    t.equal((await rejection(change())).code, Code.DeadlineExceeded)
  }
  t.equal(sessions.live.size, 1)
  sessions.failure = undefined
  await admin.disableUser({ userId })
  t.equal(sessions.live.size, 0)
  t.equal(reasonOf(await rejection(logIn(email))), 'ACCOUNT_DISABLED')
  t.same(await events(userId), [
    ['user.disabled', '1'],
    ['user.sessions_ended', '2']
  ])
})

t.test('EndSessions ends every session and leaves the account usable', async (t) => {
  const { email, userId } = await newAccount()
  await logIn(email)
  t.same((await admin.endSessions({ userId })).endedSessions, 2)
  t.equal(sessions.live.size, 0)
  t.equal((await admin.endSessions({ userId })).endedSessions, 0)
  t.ok((await logIn(email)).token)
  t.same(await events(userId), [
    ['user.sessions_ended', '1'],
    ['user.sessions_ended', '2']
  ])
})

t.test('a login whose account is disabled before its session exists is rejected', async (t) => {
  const { email, userId } = await newAccount()
  sessions.live.clear()
  sessions.beforeCreate = async (id) => {
    if (id === userId) await admin.disableUser({ userId })
  }
  t.equal(reasonOf(await rejection(logIn(email))), 'ACCOUNT_DISABLED')
  t.equal(sessions.live.size, 0)
})

t.test('in 25 rounds, no concurrent login outlives the disabling of its account', async (t) => {
  const { email, userId } = await newAccount()
  let rejected = 0
  for (let round = 0; round < 25; round += 1) {
    await admin.enableUser({ userId })
    const logins = Array.from({ length: 4 }, (_, index) =>
      new Promise((resolve) => setTimeout(resolve, index)).then(() => logIn(email))
    )
    const [, ...results] = await Promise.allSettled([admin.disableUser({ userId }), ...logins])
    rejected += results.filter(({ status }) => status === 'rejected').length
    t.notOk([...sessions.live.values()].includes(userId), `round ${round}`)
  }
  t.comment(`${rejected} of 100 logins were rejected`)
})

t.test('DeleteUser deletes the account, also one that does not exist', async (t) => {
  const { userId } = await newAccount()
  for (const _ of [1, 2]) await admin.deleteUser({ userId })
  t.equal(reasonOf(await rejection(admin.getUser({ key: { case: 'userId', value: userId } }))), 'ACCOUNT_NOT_FOUND')
  t.equal(sessions.live.size, 0)
})

t.test('an account with the highest epoch can be disabled', async (t) => {
  const { userId } = await newAccount()
  await sql`update users set session_epoch = ${String(2n ** 63n - 1n)} where id = ${userId}`
  await admin.disableUser({ userId })
  t.equal(sessions.live.size, 0)
  t.same(await events(userId), [['user.disabled', String(2n ** 52n)]])
})

t.test('RequestPasswordReset makes an email due, within the limit of the address', async (t) => {
  const { email, userId } = await newAccount()
  for (const _ of [1, 2]) await admin.requestPasswordReset({ userId })
  const rows = await sql`select recipient from emails where user_id = ${userId} and purpose = 'reset'`
  t.match(rows, [{ recipient: email }])
  t.equal(rows.length, 1)
  await admin.disableUser({ userId })
  t.equal(reasonOf(await rejection(admin.requestPasswordReset({ userId }))), 'ACCOUNT_DISABLED')
  const without = await startUserSvc(t, { mail: undefined })
  t.equal(reasonOf(await rejection(without.admin.requestPasswordReset({ userId }))), 'MAIL_NOT_CONFIGURED')
})

t.test('a user id that is unknown or malformed', async (t) => {
  const userId = '0197a000-0000-7000-8000-000000000000'
  for (const method of ['disableUser', 'enableUser', 'endSessions', 'requestPasswordReset'] as const) {
    t.equal(reasonOf(await rejection(admin[method]({ userId }))), 'ACCOUNT_NOT_FOUND', method)
  }
  for (const method of ['disableUser', 'enableUser', 'endSessions', 'deleteUser', 'requestPasswordReset'] as const) {
    for (const malformed of ['', 'x', userId.toUpperCase(), `${userId} `]) {
      t.same(fieldsOf(await rejection(admin[method]({ userId: malformed }))), ['user_id'], `${method} ${malformed}`)
    }
  }
  t.equal((await sql`select from outbox where user_id = ${userId}`).length, 0)
})
