/** The stream of an import: limits of a message, a caller that cancels, deadlines, protocols, the credential. */

import { Code, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { testRpc, testTransport } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { fieldsOf, newAddress, rejection, startAccountTests } from '../accounts/account-tests.ts'
import { type Row, stream } from './import-rows.ts'

const lines: Record<string, unknown>[] = []
const log = createLogger('test', 'info', { write: (line: string) => void lines.push(JSON.parse(line)) })
const { admin, sql, port } = await startAccountTests(t, { log })

const importRows = (...messages: Row[][]) => admin.importUsers(stream(...messages))

t.test('an empty stream imports nothing', async (t) => {
  t.match(await importRows(), { imported: 0, rejected: 0 })
})

t.test('a message of more than 1,000 rows or 64 KiB ends the call; the error names the rows before it', async (t) => {
  const [first, second] = [newAddress(), newAddress()]
  const tooMany = await rejection(
    importRows(
      [{ email: first }],
      Array.from({ length: 1001 }, () => ({}))
    )
  )
  t.equal(tooMany.code, Code.InvalidArgument)
  t.same(fieldsOf(tooMany), ['users'])
  t.match(tooMany.rawMessage, /The rows 1 to 1 were processed/)
  const large = { email: newAddress(), passwordHash: 'x'.repeat(70_000) }
  const tooLarge = await rejection(importRows([{ email: second }], [large]))
  t.equal(tooLarge.code, Code.ResourceExhausted)
  t.match(tooLarge.rawMessage, /The rows 1 to 1 were processed/)
  t.equal((await sql`select from users where email in ${sql([first, second])}`).length, 2)
  const onlyLarge = await rejection(importRows([large]))
  t.equal(onlyLarge.code, Code.ResourceExhausted)
  t.notMatch(onlyLarge.rawMessage, /processed/)
})

t.test('a caller that cancels has imported the messages before', async (t) => {
  const [first, second] = [newAddress(), newAddress()]
  const canceling = new AbortController()
  async function* messages() {
    yield { users: [{ email: first }] }
    await until(
      'the first message is imported',
      async () => (await sql`select from users where email = ${first}`).length === 1
    )
    canceling.abort()
    yield { users: [{ email: second }] }
  }
  lines.length = 0
  const error = await rejection(admin.importUsers(messages(), { signal: canceling.signal }))
  t.equal(error.code, Code.Canceled)
  await until('the call has ended', () => lines.some(({ event }) => event === 'admin_call'))
  t.match(
    lines.find(({ event }) => event === 'admin_call'),
    { code: 'canceled', count: 1 }
  )
  t.equal((await sql`select from users where email = ${second}`).length, 0)
})

t.test('a deadline ends the import', async (t) => {
  const first = newAddress()
  async function* messages() {
    yield { users: [{ email: first }] }
    await new Promise((resolve) => setTimeout(resolve, 3000))
  }
  const error = await rejection(admin.importUsers(messages(), { timeoutMs: 1000 }))
  t.equal(error.code, Code.DeadlineExceeded)
  t.equal((await sql`select from users where email = ${first}`).length, 1)
})

t.test('the Connect protocol imports as well', async (t) => {
  for (const useBinaryFormat of [true, false]) {
    const transport = createConnectTransport({
      httpVersion: '2',
      baseUrl: `http://127.0.0.1:${port}`,
      useBinaryFormat,
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${testRpc.adminToken}`)
          return next(request)
        }
      ]
    })
    const over = createClient(AdminService, transport)
    t.match(await over.importUsers(stream([{ email: newAddress() }], [{ email: 'bad' }])), { imported: 1, rejected: 1 })
  }
})

t.test('without the credential of operators, no row is read', async (t) => {
  const email = newAddress()
  const other = createClient(AdminService, testTransport(port))
  t.equal((await rejection(other.importUsers(stream([{ email }])))).code, Code.PermissionDenied)
  t.equal((await sql`select from users where email = ${email}`).length, 0)
})
