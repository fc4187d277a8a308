/** ImportUsers over gRPC on the real PostgreSQL. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import { Code } from '@connectrpc/connect'
import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import type { ImportUsersResponse } from '#gen/admin/v1/admin_pb.ts'
import {
  hasRejectedCredentials,
  newAddress,
  password,
  rejection,
  startAccountTests
} from '../accounts/account-tests.ts'
import { type Row, stream } from './import-rows.ts'

const lines: Record<string, unknown>[] = []
const log = createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) })
const { admin, client, sql, hashes } = await startAccountTests(t, { log })

const importRows = (...messages: Row[][]) => admin.importUsers(stream(...messages))
const reasons = ({ rejections }: ImportUsersResponse) => rejections.map(({ row, reason }) => `${row} ${reason}`)
const uuid = (number: number) => `0197a000-0000-4000-8000-${String(number).padStart(12, '0')}`
const bcrypt = hashSync(password, { cost: 4 })

t.test('imports an account as it was', async (t) => {
  const [email, id] = [newAddress(), uuid(1)]
  const createdAt = new Date('2019-05-06T07:08:09.123Z')
  const before = await hashes()
  const row = {
    id,
    email: email.toUpperCase(),
    emailVerified: true,
    createdAt: timestampFromDate(createdAt),
    passwordHash: bcrypt
  }
  t.match(await importRows([row]), { imported: 1, rejected: 0, rejections: [] })
  t.equal(await hashes(), before, 'nothing is hashed')
  const [stored] = await sql`select * from users where id = ${id}`
  t.match(stored, { email, password_hash: bcrypt, session_epoch: '0', created_at: createdAt, disabled_at: null })
  t.ok(stored?.email_verified_at)
  const events = await sql`select type, session_epoch from outbox where user_id = ${id} order by id`
  t.same(
    events.map(({ type }) => type),
    ['user.created', 'user.email_verified']
  )
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password: 'wrong password' }))))
  t.equal((await client.authenticateAndLogin({ email, password })).user?.id, id)
  t.match((await sql`select password_hash from users where id = ${id}`)[0]?.password_hash, /^hs384:/, 'it is renewed')
})

t.test('the defaults of a row: a new id, the current time, no password, not verified, enabled', async (t) => {
  const email = newAddress()
  const before = Date.now()
  await importRows([{ email }])
  const [stored] = await sql`select * from users where email = ${email}`
  t.match(stored, {
    id: /^[0-9a-f]{8}-[0-9a-f]{4}-7/,
    password_hash: 'none',
    email_verified_at: null,
    disabled_at: null
  })
  t.ok(stored?.created_at.getTime() >= before - 1000 && stored?.created_at.getTime() <= Date.now() + 1000)
})

t.test('a disabled account stays disabled, with its event', async (t) => {
  const [email, id] = [newAddress(), uuid(2)]
  await importRows([{ id, email, disabled: true, passwordHash: bcrypt }])
  t.ok((await admin.getUser({ key: { case: 'userId', value: id } })).user?.disabledAt)
  const events = await sql`select type from outbox where user_id = ${id} order by id`
  t.same(
    events.map(({ type }) => type),
    ['user.created', 'user.disabled']
  )
  t.equal((await rejection(client.authenticateAndLogin({ email, password }))).code, Code.PermissionDenied)
})

t.test('a row that breaks a rule is reported by its number and reason, and affects no other', async (t) => {
  const taken = newAddress()
  await importRows([{ id: uuid(3), email: taken }])
  const [first, second] = [newAddress(), newAddress()]
  const response = await importRows(
    [
      { id: uuid(10), email: first },
      { email: 'not an address' },
      { email: newAddress(), id: 'x' },
      { email: newAddress(), id: uuid(11).replace('0197a', '0197A') },
      { email: newAddress(), id: '00000000-0000-0000-0000-000000000000' },
      { email: newAddress(), createdAt: timestampFromDate(new Date('1969-12-31T23:59:59.999Z')) },
      { email: newAddress(), createdAt: timestampFromDate(new Date(Date.now() + 3_600_000)) },
      { email: newAddress(), createdAt: { seconds: 2n ** 62n, nanos: 0 } },
      { email: newAddress(), passwordHash: 'plain text' },
      { email: newAddress(), passwordHash: '$argon2id$v=19$m=4194304,t=10,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA' }
    ],
    [],
    [
      { email: taken },
      { email: newAddress(), id: uuid(3) },
      { email: first },
      { email: newAddress(), id: uuid(10) },
      { email: second },
      { email: second.toUpperCase() },
      {}
    ]
  )
  t.same(reasons(response), [
    '2 EMAIL_INVALID',
    '3 ID_INVALID',
    '4 ID_INVALID',
    '5 ID_INVALID',
    '6 CREATED_AT_INVALID',
    '7 CREATED_AT_INVALID',
    '8 CREATED_AT_INVALID',
    '9 HASH_UNSUPPORTED',
    '10 HASH_TOO_COSTLY',
    '11 ADDRESS_TAKEN',
    '12 ID_TAKEN',
    '13 ADDRESS_REPEATED',
    '14 ID_REPEATED',
    '16 ADDRESS_REPEATED',
    '17 EMAIL_INVALID'
  ])
  t.match(response, { imported: 2, rejected: 15 })
  for (const { detail } of response.rejections) t.match(detail, /^(email|id|created_at|password_hash): ./)
  const text = JSON.stringify(response.rejections)
  for (const data of [taken, first, second, uuid(3), 'plain']) t.notMatch(text, data)
})

t.test('a repeated row counts after the row that was imported, not after one that was rejected', async (t) => {
  const email = newAddress()
  const same = { id: uuid(20), email }
  t.same(reasons(await importRows([{ email, passwordHash: 'x' }, same, same], [same])), [
    '1 HASH_UNSUPPORTED',
    '3 ADDRESS_REPEATED',
    '4 ADDRESS_REPEATED'
  ])
})

t.test('a repeated import reports its rows as taken', async (t) => {
  const rows = [1, 2, 3].map(() => ({ email: newAddress() }))
  t.equal((await importRows(rows)).imported, 3)
  t.same(reasons(await importRows(rows)), ['1 ADDRESS_TAKEN', '2 ADDRESS_TAKEN', '3 ADDRESS_TAKEN'])
})

t.test('10,000 rows, of which some are bad', async (t) => {
  const rows = Array.from({ length: 10_000 }, (_, index) => {
    const number = index + 1
    if (number % 100 === 0) return { email: 'bad' }
    if (number % 250 === 1) return { email: 'twice@example.org' }
    return { email: `many${number}@example.org`, passwordHash: bcrypt, emailVerified: number % 2 === 0 }
  })
  const messages = Array.from({ length: 50 }, (_, index) => rows.slice(index * 200, (index + 1) * 200))
  const startedAt = performance.now()
  const response = await importRows(...messages)
  t.comment(`${Math.round(10_000 / ((performance.now() - startedAt) / 1000))} rows a second`)
  t.match(response, { imported: 9861, rejected: 139 })
  t.equal(reasons(response).filter((each) => each.endsWith('EMAIL_INVALID')).length, 100)
  t.same(reasons(response).slice(0, 3), ['100 EMAIL_INVALID', '200 EMAIL_INVALID', '251 ADDRESS_REPEATED'])
  t.equal((await sql`select from users where email like 'many%'`).length, 9860)
  t.match(lines.at(-1), {
    event: 'admin_call',
    rpc: 'admin.v1.AdminService/ImportUsers',
    caller: 'operators',
    count: 9861
  })
  t.notMatch(JSON.stringify(lines), /example\.org|\$2b\$/)
})

t.test('at most 1,000 rejections are reported', async (t) => {
  const bad = Array.from({ length: 600 }, () => ({ email: 'bad' }))
  const response = await importRows(bad, bad)
  t.match(response, { imported: 0, rejected: 1200 })
  t.equal(response.rejections.length, 1000)
  t.equal(response.rejections.at(-1)?.row, 1000)
})
