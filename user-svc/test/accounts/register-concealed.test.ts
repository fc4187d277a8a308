/** Registration with `userSvc.registration.concealTaken`: one answer and one work for free and taken addresses. */

import { randomUUID } from 'node:crypto'
import { toBinary } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import type { TransactionSql } from 'postgres'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { until } from '#common/testing/until.ts'
import { RegisterAndLoginResponseSchema } from '#gen/user/v1/user_pb.ts'
import {
  emailsOf,
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  newestToken,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from './account-tests.ts'
import { recordWork } from './equal-work.ts'

const lines: string[] = []
const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
const service = await startAccountTests(t, { concealTaken: true, log })
const { client, admin, sql, sessions, hashes, registry } = service
const sameWork = recordWork(t, service)

const other = 'another good password'
const register = (email: string, written = password) => client.registerAndLogin({ email, password: written })
const logIn = (email: string, written = password) => client.authenticateAndLogin({ email, password: written })
const rowOf = async (email: string) => (await sql`select * from users where email = ${email}`)[0]
const notices = (userId: string) => emailsOf(sql, userId, 'registration-notice')

async function newAccount(
  columns: { email_verified_at?: Date; disabled_at?: Date } = { email_verified_at: new Date() }
) {
  const email = newAddress()
  await register(email)
  const userId = (await rowOf(email))?.id as string
  if (Object.keys(columns).length > 0) await sql`update users set ${sql(columns)} where id = ${userId}`
  return { email, userId }
}

async function deletedAccount() {
  const { email, userId } = await newAccount({})
  await sql`delete from users where id = ${userId}`
  return email
}

/** The answer, and the number of rows of emails that the registration writes, decoys included. */
async function registerAndCount(email: string, written = password) {
  const count = async () => Number((await sql`select count(*) from emails`)[0]?.count)
  const before = await count()
  const message = await register(email, written)
  return { message, emails: (await count()) - before }
}

t.test('free and taken addresses get one answer and do the same work', async (t) => {
  const [taken, unverified] = [(await newAccount()).email, (await newAccount({})).email]
  const disabled = (await newAccount({ disabled_at: new Date() })).email
  const [free, deleted] = [newAddress(), await deletedAccount()]
  const expected = await sameWork(t, {
    free: () => registerAndCount(newAddress()),
    taken: () => registerAndCount(taken),
    'taken, over the limit': () => registerAndCount(taken, other),
    unverified: () => registerAndCount(unverified),
    disabled: () => registerAndCount(disabled),
    'free, over the limit': () => registerAndCount(deleted),
    'free, without a limit': () => registerAndCount(free),
    'taken by the last one': () => registerAndCount(free)
  })
  t.match(expected, { hashes: 1, checks: 0, answer: { emails: 1 } })
  t.equal(expected.statements.length, 2)
  const { message } = expected.answer as Awaited<ReturnType<typeof registerAndCount>>
  t.same([...toBinary(RegisterAndLoginResponseSchema, message)], [5 << 3, 1], 'no other field')
  t.equal(sessions.live.size, 0)
})

t.test('a free address gets an account without a session, which works once it is verified', async (t) => {
  const { email, userId } = await newAccount({})
  t.match(await rowOf(email), { email_verified_at: null, session_epoch: '0' })
  t.match(await sql`select type from outbox where user_id = ${userId}`, [{ type: 'user.created' }])
  t.ok(hasRejectedCredentials(await rejection(logIn(email))), 'the password does not show the account')
  await client.verifyEmail({ token: await newestToken(service, userId, 'verify') })
  t.equal((await logIn(email)).user?.id, userId)
})

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

t.test(
  'a new password by email ends the password and the link of an earlier registration by another person',
  async (t) => {
    const { email, userId } = await newAccount({})
    const link = await newestToken(service, userId, 'verify')
    await client.requestPasswordReset({ email })
    await client.resetPassword({ token: await newestToken(service, userId, 'reset'), newPassword: other })
    t.equal(reasonOf(await rejection(client.verifyEmail({ token: link }))), 'TOKEN_REJECTED')
    t.ok(hasRejectedCredentials(await rejection(logIn(email))))
  }
)

t.test(
  'while PostgreSQL fails, a registration is 503 without a hash, and while Redis is down it is accepted',
  async (t) => {
    const { email } = await newAccount()
    const before = await hashes()
    await sql`alter table users rename to hidden`
    for (const address of [email, newAddress()]) t.equal((await rejection(register(address))).code, Code.Unavailable)
    await sql`alter table hidden rename to users`
    t.equal((await hashes()) - before, 0)
    Object.assign(sessions, { serving: false, failure: unavailable('down') })
    await t.resolves(register(newAddress()))
  }
)

t.test('a taken address counts as a rejected registration', async (t) => {
  const { email } = await newAccount()
  async function results() {
    const text = await registry.getSingleMetricAsString('auth_registrations_total')
    return [...text.matchAll(/result="(\w+)"\} (\d+)/g)].map(([, result, count]) => [result, Number(count)] as const)
  }
  const before = Object.fromEntries(await results())
  await register(email)
  await register(newAddress())
  const added = (await results()).map(([result, count]) => [result, count - before[result as string]])
  t.same(Object.fromEntries(added), { ok: 1, rejected: 1, error: 0 })
})

t.test('of concurrent registrations of one free address one creates the account, and all get one answer', async (t) => {
  const email = newAddress()
  const answers = await Promise.all(Array.from({ length: 8 }, () => register(email)))
  for (const answer of answers) t.same(answer, answers[0])
  const accounts = await sql`select id from users where email = ${email}`
  t.equal(accounts.length, 1)
  t.equal((await emailsOf(sql, accounts[0]?.id, 'verify')).length, 1)
  t.equal(sessions.live.size, 0)
})

/** Sends a registration while a transaction has a lock on its address; it waits until the commit. */
async function registerDuring(email: string, change: (transaction: TransactionSql) => Promise<unknown>) {
  let registration: Promise<unknown> = Promise.resolve()
  await sql.begin(async (transaction) => {
    await change(transaction)
    registration = register(email)
    const waiting = () => transaction`
      select from pg_locks where not granted and pid in (
        select pid from pg_locks join pg_database on pg_database.oid = pg_locks.database where datname = current_database())`
    await until('the registration waits for the transaction', async () => (await waiting()).length > 0)
  })
  return registration
}

t.test('a registration that loses a race changes nothing, and gets the same answer', async (t) => {
  const email = newAddress()
  const id = randomUUID()
  const answer = await registerDuring(
    email,
    (other) => other`insert into users (id, email, password_hash, session_epoch) values (${id}, ${email}, 'none', 0)`
  )
  t.same(answer, await register(newAddress()))
  t.match(await rowOf(email), { id, password_hash: 'none' })
})

t.test('a registration waits for a deletion of the account, and then creates a new one', async (t) => {
  const { email, userId } = await newAccount()
  await registerDuring(email, (deletion) => deletion`delete from users where id = ${userId}`)
  const created = await rowOf(email)
  t.ok(created && created.id !== userId)
})

t.test('a login of an address that is not verified does the work of an unknown one', async (t) => {
  const [unverified, disabled] = [(await newAccount({})).email, (await newAccount({ disabled_at: new Date() })).email]
  await sameWork(t, {
    unknown: () => rejection(logIn(newAddress())),
    'correct password': () => rejection(logIn(unverified)),
    'wrong password': () => rejection(logIn(unverified, other)),
    'disabled, correct password': () => rejection(logIn(disabled))
  })
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

t.test('invalid fields are named as without concealment, and operators see taken addresses', async (t) => {
  const { email } = await newAccount()
  for (const address of [email, newAddress()]) {
    const error = await rejection(register(address, '12345678'))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), ['password'])
  }
  t.same(fieldsOf(await rejection(register('nobody'))), ['email'])
  const taken = await rejection(admin.createUser({ email, password, emailVerified: false }))
  t.equal(taken.code, Code.AlreadyExists)
})
