/** Registration with `userSvc.registration.concealTaken`: one answer and one work for free and taken addresses. */

import { randomUUID } from 'node:crypto'
import { toBinary } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import type { TransactionSql } from 'postgres'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { RegisterAndLoginResponseSchema } from '#gen/user/v1/user_pb.ts'
import {
  emailsOf,
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  newestToken,
  password,
  rejection
} from './account-tests.ts'
import { startConcealedTests } from './concealed-accounts.ts'
import { recordWork } from './equal-work.ts'

const clock = createTestClock()
const { service, register, logIn, rowOf, newAccount, deletedAccount } = await startConcealedTests(t, clock)
const { client, admin, sql, sessions, hashes, registry } = service
const sameWork = recordWork(t, service, clock)
const other = 'another good password'

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

t.test('a registration is 503 without a hash while PostgreSQL fails, and needs no session-svc', async (t) => {
  const { email } = await newAccount()
  const before = await hashes()
  await sql`alter table users rename to hidden`
  for (const address of [email, newAddress()]) t.equal((await rejection(register(address))).code, Code.Unavailable)
  await sql`alter table hidden rename to users`
  t.equal((await hashes()) - before, 0)
  Object.assign(sessions, { serving: false, failure: unavailable('down') })
  await t.resolves(register(newAddress()))
})

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
