/** Promise 2: no session and no right of an old password outlives a change or a reset, on the real PostgreSQL and Redis. */

import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { testTransport } from '#common/testing/service.ts'
import { startSessionSvc } from '../session-svc/test/service.ts'
import { newAddress, newestToken, password, reasonOf, rejection } from '../user-svc/test/accounts/account-tests.ts'
import { startUserSvc } from '../user-svc/test/service.ts'

const rounds = 25
const { client: sessions, port } = await startSessionSvc(t)
const service = await startUserSvc(t, { transport: testTransport(port) })
const { client, sql } = service

const passwords = { changed: 'changed battery staple', first: 'first battery staple', second: 'second battery staple' }

async function newAccount() {
  const email = newAddress()
  const { user, token } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string, token }
}

async function resetToken({ email, userId }: { email: string; userId: string }): Promise<string> {
  await sql`delete from email_limits`
  await client.requestPasswordReset({ email })
  return newestToken(service, userId, 'reset')
}

const isValid = async (token: string) => (await sessions.validateSession({ token })).result.case === 'session'

/** Runs a call after a random time, at least `fromMs`. @returns its result, or the reason of its rejection */
async function later<T>(call: () => Promise<T>, fromMs = 0): Promise<T | string> {
  await sleep(fromMs + randomInt(12))
  return call().catch(reasonOf)
}

t.test(
  'no session of the old password outlives a change or a reset that races logins, a change and resets',
  async (t) => {
    const counts = { loggedIn: 0, rejected: 0, changed: 0, first: 0, second: 0 }
    for (let round = 0; round < rounds; round += 1) {
      const account = await newAccount()
      const { email, userId } = account
      const tokens = { first: await resetToken(account), second: await resetToken(account) }
      const logins = Array.from({ length: 6 }, () => later(() => client.authenticateAndLogin({ email, password })))
      // A change hashes twice, and a reset once: without a head start in half of the rounds, a reset would always be first.
      const headStartMs = round % 2 === 0 ? 0 : 12
      const changes = {
        changed: later(() =>
          client.changePassword({ userId, currentPassword: password, newPassword: passwords.changed })
        ),
        first: later(() => client.resetPassword({ token: tokens.first, newPassword: passwords.first }), headStartMs),
        second: later(() => client.resetPassword({ token: tokens.second, newPassword: passwords.second }), headStartMs)
      }
      const loggedIn = (await Promise.all(logins)).filter((each) => typeof each === 'object')
      const results = { changed: await changes.changed, first: await changes.first, second: await changes.second }
      const [winner, ...others] = (['changed', 'first', 'second'] as const).filter(
        (name) => typeof results[name] === 'object'
      )
      t.same(others, [], 'one of three changes succeeds')
      if (winner === undefined) return t.fail(`no change succeeded: ${JSON.stringify(results)}`)
      counts[winner] += 1
      counts.loggedIn += loggedIn.length
      counts.rejected += logins.length - loggedIn.length
      const old = [account.token, ...loggedIn.map(({ token }) => token)]
      t.same(
        await Promise.all(old.map(isValid)),
        old.map(() => false),
        'every session of the old password has ended'
      )
      if (typeof results.changed === 'object')
        t.ok(await isValid(results.changed.token), 'the session of the change is valid')
      t.ok((await client.authenticateAndLogin({ email, password: passwords[winner] })).token)
      t.equal(reasonOf(await rejection(client.authenticateAndLogin({ email, password }))), 'CREDENTIALS_REJECTED')
    }
    t.comment(JSON.stringify(counts))
    t.ok(counts.loggedIn > 0 && counts.rejected > 0, 'logins ran before and after the changes')
    t.ok(counts.changed > 0 && counts.first + counts.second > 0, 'changes and resets succeeded')
  }
)

t.test('no session outlives the disabling of its account that races logins', async (t) => {
  const counts = { loggedIn: 0, rejected: 0 }
  for (let round = 0; round < rounds; round += 1) {
    const { email, userId, token } = await newAccount()
    const logins = Array.from({ length: 6 }, () => later(() => client.authenticateAndLogin({ email, password })))
    // A login takes longer than the disabling: without a head start in half of the rounds, none might succeed.
    if (round % 2 === 1) await Promise.race(logins)
    await later(async () => {
      const [row] = await sql`
        update users set disabled_at = now(), session_epoch = session_epoch + 1 where id = ${userId} returning session_epoch`
      await sleep(randomInt(5))
      await sessions.deleteUserSessions({ userId, epoch: BigInt(row?.session_epoch) })
    })
    const results = await Promise.all(logins)
    const loggedIn = results.filter((each) => typeof each === 'object')
    counts.loggedIn += loggedIn.length
    counts.rejected += logins.length - loggedIn.length
    t.ok(results.every((each) => typeof each === 'object' || each === 'ACCOUNT_DISABLED'))
    const tokens = [token, ...loggedIn.map((each) => each.token)]
    t.same(
      await Promise.all(tokens.map(isValid)),
      tokens.map(() => false)
    )
  }
  t.comment(JSON.stringify(counts))
  t.ok(counts.loggedIn > 0 && counts.rejected > 0, 'logins ran before and after the disabling')
})

t.test('the other sessions end, also one whose login races their end with the old epoch', async (t) => {
  for (let round = 0; round < rounds; round += 1) {
    const email = newAddress()
    const { user, session, token } = await client.registerAndLogin({ email, password })
    const userId = user?.id as string
    const earlier = await client.authenticateAndLogin({ email, password })
    const login = later(() => client.authenticateAndLogin({ email, password }))
    await client.endOtherSessions({ userId, keptSessionId: session?.id as string })
    t.notOk(await isValid(earlier.token))
    t.ok(await isValid(token), 'the kept session is valid')
    const [row] = await sql`select session_epoch from users where id = ${userId}`
    t.equal(row?.session_epoch, '1')
    t.type(await login, 'object', 'a login succeeds before or after')
  }
})
