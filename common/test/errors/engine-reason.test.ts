/** Messages of real engines for operators: never a value, an argument, a URL or a password. */

import pg from 'pg'
import t from 'tap'
import { engineReason } from '#common/errors/engine-reason.ts'
import { describeError } from '#common/logging/describe-error.ts'
import { reasonOf } from '#common/ops/probe.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'

const secret = 'hunter2'
const thrownBy = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error
  )

async function query(text: string, values: unknown[] = [], change = (_: URL) => {}) {
  const url = new URL(engineAddress('TEST_POSTGRES_URL'))
  change(url)
  const client = new pg.Client({ connectionString: url.href })
  client.on('error', () => {})
  const error = await thrownBy(client.connect().then(() => client.query(text, values)))
  await client.end().catch(() => {})
  return error
}

fieldCase(t, 12, "PostgreSQL's message is shown in the same way as Redis's", async (t) => {
  const missing = await query('select 1', [], (url) => {
    url.pathname = '/no-such-database'
  })
  const reason = /^answers "3D000 database "no-such-database" does not exist": create the database/
  t.match(reasonOf(missing), reason)
  t.match(reasonOf(new Error('wrapped', { cause: missing })), reason)
  t.match(describeError(missing), { code: '3D000', message: /does not exist/ })
  const unprivileged = await query('set role pg_monitor; create table public.things (name text)')
  t.match(reasonOf(unprivileged), /^answers "42501 permission denied for schema public": grant this to the role/)
})

t.test('hides messages that quote a value', async (t) => {
  const quoted = [
    await query('select $1::int', [secret]),
    await query(`select '${secret}'::uuid`),
    await query(`select ${secret}`)
  ]
  for (const error of quoted) {
    t.type(error, Error)
    t.equal(engineReason(error), undefined)
    t.notMatch(JSON.stringify([reasonOf(error), describeError(error)]), secret)
  }
})

t.test('shows the name of an unknown Redis command without its arguments', async (t) => {
  const server = await startRedisServer(t, ['rename-command CONFIG ""'])
  const error = await thrownBy(server.client.sendCommand(['CONFIG', 'GET', secret]))
  t.match((error as Error).message, secret, "Redis's own message")
  t.match(reasonOf(error), /^answers "ERR unknown command 'CONFIG": allow the command/)
  t.notMatch(JSON.stringify([reasonOf(error), describeError(error)]), secret)
  const wrong = await thrownBy(server.client.sendCommand(['SET', secret]))
  t.match(reasonOf(wrong), /^does not work \(SimpleError\)/)
})

t.test('shows that a server has no connections left', async (t) => {
  const server = await startRedisServer(t, ['maxclients 1'])
  const late = connectRedis(`redis://${server.address}`, silentLog)
  t.teardown(() => late.destroy())
  const error = await new Promise((resolve) => late.once('error', resolve))
  t.match(reasonOf(error), /^answers "ERR max number of clients reached": raise maxclients/)
})

t.test("hides errors that are not an engine's", async (t) => {
  for (const error of [new Error('OOM command'), new TypeError('x'), undefined, 'OOM command']) {
    t.equal(engineReason(error), undefined)
  }
})

fieldCase(
  t,
  12,
  "a failure without a code is named by the driver's own words, not by the class of a wrapper",
  async (t) => {
    for (const words of ['timeout exceeded when trying to connect', 'Connection terminated unexpectedly']) {
      const error = new Error('Failed query: select $1 params: hunter2', { cause: new Error(words) })
      t.equal(reasonOf(error), `cannot be reached (${words})`)
    }
    t.equal(reasonOf(new Error('hunter2')), 'does not work (Error)')
  }
)
