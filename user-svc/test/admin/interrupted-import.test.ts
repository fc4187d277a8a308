/** An import that an outage, a stop or an unresponsive caller interrupts, on the real PostgreSQL. */

import { create } from '@bufbuild/protobuf'
import { Code } from '@connectrpc/connect'
import postgres from 'postgres'
import t from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { createTestDatabase, silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { ImportUsersRequestSchema } from '#gen/admin/v1/admin_pb.ts'
import { type ImportParts, importUsers } from '../../admin/import-users.ts'
import { connectDatabase } from '../../database.ts'
import { migrateDatabase } from '../../migrations.ts'
import { PasswordHashes } from '../../passwords/password-hashes.ts'
import { newAddress, rejection } from '../accounts/account-tests.ts'

const url = await createTestDatabase(t)
await migrateDatabase({ url })
const database = connectDatabase({ url, maxConnections: 2, queryTimeout: 3000 })
const down = connectDatabase({ url: 'postgres://none:none@127.0.0.1:1/none', maxConnections: 2, queryTimeout: 3000 })
const sql = postgres(url, { max: 1, onnotice: () => {} })
t.teardown(() => Promise.all([database.close(), down.close(), sql.end()]))

const parts: ImportParts = {
  db: database.db,
  passwords: new PasswordHashes({ cost: 4, peppers: [] }, () => {}),
  maxIdleMs: 30_000,
  isDraining: () => false
}
const newCall = (signal = new AbortController().signal) => {
  return { signal, caller: 'operators', timeoutMs: () => 30_000, trace: newTrace(), log: silentLog }
}
const message = (...addresses: string[]) =>
  create(ImportUsersRequestSchema, { users: addresses.map((email) => ({ email })) })
const isStored = async (email: string) => (await sql`select from users where email = ${email}`).length === 1

t.test('PostgreSQL becomes unavailable between two messages', async (t) => {
  const [first, second, third] = [newAddress(), newAddress(), newAddress()]
  let { db } = database
  async function* messages() {
    yield message(first, second)
    db = down.db
    yield message(third)
  }
  const failing = Object.defineProperty({ ...parts }, 'db', { get: () => db })
  const error = await rejection(importUsers(failing, messages(), newCall()))
  t.equal(error.code, Code.DeadlineExceeded, 'not `unavailable`, because rows are imported')
  t.match(error.rawMessage, /The rows 1 to 2 were processed; the next ones may have been\.$/)
  t.ok((await isStored(first)) && (await isStored(second)))
})

t.test('PostgreSQL is down from the start: nothing was imported', async (t) => {
  const error = await rejection(
    importUsers(
      { ...parts, db: down.db },
      (async function* () {
        yield message(newAddress())
      })(),
      newCall()
    )
  )
  t.equal(error.code, Code.Unavailable)
  t.notMatch(error.rawMessage, /processed/)
})

t.test('a service that is to stop ends the import after the current message', async (t) => {
  const [first, second] = [newAddress(), newAddress()]
  let draining = false
  async function* messages() {
    yield message(first)
    draining = true
    yield message(second)
  }
  const error = await rejection(importUsers({ ...parts, isDraining: () => draining }, messages(), newCall()))
  t.equal(error.code, Code.DeadlineExceeded)
  t.match(error.rawMessage, /stopping\. The rows 1 to 2 were processed/)
  t.ok(await isStored(second))
})

t.test('a caller that sends nothing for the idle time ends the import', async (t) => {
  const first = newAddress()
  const clock = createTestClock()
  const waiting = Promise.withResolvers<void>()
  async function* messages() {
    yield message(first)
    waiting.resolve()
    await new Promise(() => {})
  }
  const ended = rejection(importUsers({ ...parts, clock }, messages(), newCall()))
  await waiting.promise
  await clock.advance(29_999)
  t.equal(await Promise.race([ended.then(() => 'ended'), Promise.resolve('waiting')]), 'waiting')
  await clock.advance(1)
  const error = await ended
  t.equal(error.code, Code.DeadlineExceeded)
  t.match(error.rawMessage, /The rows 1 to 1 were processed/)
})

t.test('no statement starts after the caller has disconnected', async (t) => {
  const [first, second] = [newAddress(), newAddress()]
  const canceling = new AbortController()
  async function* messages() {
    yield message(first)
    canceling.abort(new Error('the client disconnected'))
    yield message(second)
  }
  await rejection(importUsers(parts, messages(), newCall(canceling.signal)))
  t.notOk(await isStored(second))
})

t.test('two concurrent imports of the same rows import each row once', async (t) => {
  const addresses = Array.from({ length: 500 }, newAddress)
  async function* messages() {
    for (let from = 0; from < addresses.length; from += 50) yield message(...addresses.slice(from, from + 50))
  }
  const [one, two] = await Promise.all([1, 2].map(() => importUsers(parts, messages(), newCall())))
  t.equal((one?.imported ?? 0) + (two?.imported ?? 0), 500)
  for (const { reason } of [...(one?.rejections ?? []), ...(two?.rejections ?? [])]) t.equal(reason, 'ADDRESS_TAKEN')
  t.equal(
    (
      await sql`select from outbox where type = 'user.created' and user_id in (select id from users where email in ${sql(addresses)})`
    ).length,
    500
  )
})
