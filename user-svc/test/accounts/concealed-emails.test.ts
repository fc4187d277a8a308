/** The emails and log lines of accounts with `userSvc.registration.concealTaken`. */

import t from 'tap'
import { until } from '#common/testing/until.ts'
import { emailsOf, hasRejectedCredentials, newestToken, password, reasonOf, rejection } from './account-tests.ts'
import { startConcealedTests } from './concealed-accounts.ts'

const { service, lines, register, logIn, rowOf, newAccount, deletedAccount } = await startConcealedTests(t)
const { client, sql } = service
const other = 'another good password'
const notices = (userId: string) => emailsOf(sql, userId, 'registration-notice')

t.test('a taken address changes nothing, and its owner gets a notice', async (t) => {
  for (const account of [await newAccount(), await newAccount({})]) {
    const before = await rowOf(account.email)
    lines.length = 0
    await register(account.email.toUpperCase(), other)
    t.same(await rowOf(account.email), before)
    t.match(await notices(account.userId), [{ recipient: account.email, usedAt: null }])
    t.equal((await emailsOf(sql, account.userId, 'verify')).length, 1, 'no other email')
    const line = () => lines.find((each) => each.includes('"email_requested"'))
    await until('the request is logged', () => line() !== undefined)
    t.match(JSON.parse(line() ?? ''), { reason: 'registration-notice queued', userId: account.userId })
    t.notMatch(lines.join(''), account.email)
  }
})

t.test('the owner gets one notice a minute and five a day', async (t) => {
  const { email, userId } = await newAccount()
  const passTime = (age: string) =>
    sql`update email_limits set sent_at = (select array_agg(each - ${age}::interval order by each desc) from unnest(sent_at) each)`
  for (let minute = 1; minute <= 6; minute += 1) {
    for (const written of [password, other]) await register(email, written)
    t.equal((await notices(userId)).length, Math.min(minute, 5), `minute ${minute}`)
    await passTime('61 seconds')
  }
})

t.test('a disabled account gets no email', async (t) => {
  const { email, userId } = await newAccount({ email_verified_at: new Date(), disabled_at: new Date() })
  await register(email)
  t.same(await notices(userId), [])
})

t.test('a free address over its limit gets an account without an email, which a new password verifies', async (t) => {
  const email = await deletedAccount()
  await register(email)
  const userId = (await rowOf(email))?.id as string
  t.same(await emailsOf(sql, userId, 'verify'), [])
  await client.requestPasswordReset({ email })
  await client.resetPassword({ token: await newestToken(service, userId, 'reset'), newPassword: other })
  t.equal((await logIn(email, other)).user?.id, userId)
})

t.test('a new password by email ends the password and the link of an earlier registration', async (t) => {
  const { email, userId } = await newAccount({})
  const link = await newestToken(service, userId, 'verify')
  await client.requestPasswordReset({ email })
  await client.resetPassword({ token: await newestToken(service, userId, 'reset'), newPassword: other })
  t.equal(reasonOf(await rejection(client.verifyEmail({ token: link }))), 'TOKEN_REJECTED')
  t.ok(hasRejectedCredentials(await rejection(logIn(email))))
})

t.test('the log names the account of a rejected login of an address that is not verified', async (t) => {
  const { email, userId } = await newAccount({})
  lines.length = 0
  for (let network = 0; network < 12; network += 1) {
    for (let count = 0; count < 5; count += 1) {
      await rejection(client.authenticateAndLogin({ email, password, client: { network: `192.0.2.${network}` } }))
    }
  }
  const events = lines.map((line) => JSON.parse(line)).filter(({ event }) => event.startsWith('authn_login_fail'))
  t.match(events[0], { event: 'authn_login_fail', userId, reason: 'unverified' })
  t.match(
    events.filter(({ event }) => event === 'authn_login_fail_max'),
    [{ userId, reason: 'any' }]
  )
})
