/** Requests for the email that resets a password, on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import type { TransactionSql } from 'postgres'
import t from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { requestPasswordReset } from '../../accounts/request-password-reset.ts'
import { startUserSvc } from '../service.ts'
import { emailsOf, fieldsOf, newAddress, password, reasonOf, rejection, startAccountTests } from './account-tests.ts'

const { client, sql, hashes, db, mail } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

/** Lets the time of all counted emails pass. */
const passTime = (age: string) =>
  sql`update email_limits set sent_at = (select array_agg(each - ${age}::interval order by each desc) from unnest(sent_at) each)`

t.test('an account gets one email, valid for an hour, at the address in its normal form', async (t) => {
  const { email, userId } = await newAccount()
  await client.requestPasswordReset({ email: email.toUpperCase() })
  const [row, ...others] = await emailsOf(sql, userId, 'reset')
  t.match(row, { recipient: email, sessionEpoch: 0n, usedAt: null })
  t.equal(others.length, 0)
  const validMs = (row?.expiresAt.getTime() ?? 0) - Date.now()
  t.ok(validMs > 3_500_000 && validMs < 3_700_000)
})

t.test('an unknown address gets a decoy, and the limit holds no address', async (t) => {
  const email = 'decoy@unknown.example'
  const before = await hashes()
  t.same(
    await client.requestPasswordReset({ email }),
    await client.requestPasswordReset({ email: (await newAccount()).email })
  )
  t.equal((await hashes()) - before, 1, 'only the registration hashed')
  t.match(await sql`select user_id, recipient, purpose from emails where user_id is null`, [
    { user_id: null, recipient: null, purpose: 'reset' }
  ])
  t.equal((await sql`select from emails where emails::text like '%unknown.example%'`).length, 0)
  t.equal((await sql`select from email_limits where email_limits::text like '%unknown%'`).length, 0)
  await sql`delete from emails where user_id is null`
})

t.test('a request has a least duration, which hides the lock of an account', async (t) => {
  const { signal } = new AbortController()
  const call = { signal, caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log: silentLog }
  const times: number[] = []
  for (let count = 0; count < 10; count += 1) {
    const startedAt = performance.now()
    await requestPasswordReset({ db, mail }, { email: newAddress() }, call)
    times.push(performance.now() - startedAt)
  }
  // Node.js starts a timer up to a millisecond early.
  t.ok(Math.min(...times) >= 8 - 1, times.join())
  await sql`delete from emails where user_id is null`
})

t.test('a disabled account counts as unknown', async (t) => {
  const { email, userId } = await newAccount()
  await sql`update users set disabled_at = now() where id = ${userId}`
  await client.requestPasswordReset({ email })
  t.equal((await emailsOf(sql, userId, 'reset')).length, 0)
  t.equal((await sql`select from emails where user_id is null`).length, 1)
})

for (const kind of ['known', 'unknown']) {
  t.test(`one email a minute and five a day: ${kind} address`, async (t) => {
    const { email } = kind === 'known' ? await newAccount() : { email: newAddress() }
    const rows = async () => (await sql`select from emails where purpose = 'reset'`).length
    await passTime('2 days')
    const before = await rows()
    for (let minute = 1; minute <= 7; minute += 1) {
      await client.requestPasswordReset({ email })
      await client.requestPasswordReset({ email })
      t.equal((await rows()) - before, Math.min(minute, 5), `minute ${minute}`)
      await passTime('61 seconds')
    }
    await passTime('1 day')
    await client.requestPasswordReset({ email })
    t.equal((await rows()) - before, 6, 'the next day')
  })

  t.test(`10,000 concurrent requests write one row: ${kind} address`, async (t) => {
    const { email } = kind === 'known' ? await newAccount() : { email: newAddress() }
    const rows = async () => (await sql`select from emails where purpose = 'reset'`).length
    const before = await rows()
    const call = {
      signal: new AbortController().signal,
      caller: 'gateway',
      timeoutMs: () => 10_000,
      trace: newTrace(),
      log: silentLog
    }
    const request = () => requestPasswordReset({ db, mail }, { email }, call)
    // A connection of the pool is available within its limit of two seconds.
    for (let batch = 0; batch < 20; batch += 1) {
      const results = await Promise.all(Array.from({ length: 500 }, request))
      t.equal(results.filter(({ outcome }) => outcome !== 'limited').length, batch === 0 ? 1 : 0)
    }
    t.equal((await rows()) - before, 1)
  })
}

t.test('a request over the limit writes and locks nothing', async (t) => {
  const { email } = await newAccount()
  await client.requestPasswordReset({ email })
  const versions = async () =>
    JSON.stringify(await sql`select xmin::text, xmax::text, ctid::text from email_limits order by key`)
  const before = await versions()
  await client.requestPasswordReset({ email })
  t.equal(await versions(), before)
})

/** The statements in this database that wait for a lock. */
const waitingForLocks = (each: TransactionSql) => each`
  select from pg_locks where not granted and pid in (
    select pid from pg_locks join pg_database on pg_database.oid = pg_locks.database where datname = current_database())`

t.test('a deletion that is committed during the request leaves no row and no error', async (t) => {
  const { email, userId } = await newAccount()
  let request: Promise<unknown> = Promise.resolve()
  await sql.begin(async (deletion) => {
    await deletion`delete from users where id = ${userId}`
    request = client.requestPasswordReset({ email })
    // The request waits for the lock of the account.
    await until('the request waits for the deletion', async () => (await waitingForLocks(deletion)).length > 0)
  })
  await t.resolves(request)
  t.equal((await emailsOf(sql, userId, 'reset')).length, 0)
})

t.test('names an invalid address; a header cannot be injected', async (t) => {
  for (const email of [
    'nobody',
    '',
    'ada@example.org\r\nBcc: eve@example.org',
    'ada@example.org, eve@example.org',
    'ada@\ud800.org'
  ]) {
    const error = await rejection(client.requestPasswordReset({ email }))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), ['email'])
  }
})

t.test('without mail configuration, every request is rejected', async (t) => {
  const { client: mailless } = await startUserSvc(t, { mail: undefined })
  const { user } = await mailless.registerAndLogin({ email: newAddress(), password })
  const userId = user?.id as string
  const requests = [
    mailless.requestPasswordReset({ email: newAddress() }),
    mailless.requestEmailVerification({ userId }),
    mailless.changeEmail({ userId, email: newAddress(), password })
  ]
  for (const each of requests) t.equal(reasonOf(await rejection(each)), 'MAIL_NOT_CONFIGURED')
  const token = 'A'.repeat(64)
  t.equal(reasonOf(await rejection(mailless.verifyEmail({ token }))), 'TOKEN_REJECTED')
})
