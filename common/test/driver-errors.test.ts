/** What the drivers throw, made into Connect's codes: by a real engine where one can be made to fail, else by name. */

import { Code, ConnectError } from '@connectrpc/connect'
import { sql as query } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import t from 'tap'
import { toConnectError } from '../driver-errors.ts'
import { allCodes, errorMeaning } from '../error-table.ts'
import { retryAfterSeconds } from '../errors.ts'
import { connectRedis } from '../redis.ts'
import { engineAddress, silentLog } from '../testing.ts'

const sql = postgres(engineAddress('TEST_POSTGRES_URL'), { max: 1, onnotice: () => {} })
t.teardown(() => sql.end())

const thrownBy = (work: PromiseLike<unknown>) =>
  Promise.resolve(work).then(
    () => undefined,
    (error) => error
  )

t.test('PostgreSQL', async (t) => {
  await sql`create temporary table things (name text primary key)`
  const insert = () => drizzle(sql).execute(query`insert into things values (${'hunter2'})`)
  await insert()
  const taken = toConnectError(await thrownBy(insert()))
  t.equal(taken.code, Code.AlreadyExists)
  t.notMatch(taken.message, /hunter2|things/)
  const late = await thrownBy(
    sql`select set_config('statement_timeout', '20', false), pg_sleep(0)`.then(() => sql`select pg_sleep(1)`)
  )
  t.equal(toConnectError(late).code, Code.DeadlineExceeded)
  const bug = toConnectError(await thrownBy(sql`select hunter2`))
  t.match(bug, { code: Code.Internal, rawMessage: 'Internal error.' })

  const nobody = postgres('postgres://127.0.0.1:1/none', { connect_timeout: 1 })
  t.equal(toConnectError(await thrownBy(nobody`select 1`), true).code, Code.Unavailable)
  const victim = postgres(engineAddress('TEST_POSTGRES_URL'), { max: 1, onnotice: () => {} })
  const [{ pid }] = (await victim`select pg_backend_pid() as pid`) as unknown as [{ pid: number }]
  const cut = thrownBy(victim`select pg_sleep(5)`)
  await sql`select set_config('statement_timeout', '0', false)`
  await sql`select pg_terminate_backend(${pid})`
  t.equal(toConnectError(await cut).code, Code.Unavailable)
  await victim.end({ timeout: 1 })
})

t.test('Redis', async (t) => {
  const away = connectRedis('redis://127.0.0.1:1', silentLog)
  const refused = toConnectError(await thrownBy(away.get('x')), true)
  t.equal(refused.code, Code.Unavailable)
  t.equal(retryAfterSeconds(refused), 1)
  away.destroy()
  const redis = connectRedis(engineAddress('TEST_REDIS_URL'), silentLog)
  await new Promise((resolve) => redis.once('ready', resolve))
  t.equal(toConnectError(await thrownBy(redis.sendCommand(['NOSUCH']))).code, Code.Internal)
  redis.destroy()
  for (const reply of [
    'LOADING Redis is loading',
    "MISCONF Redis can't write",
    'OOM command not allowed',
    'READONLY You'
  ]) {
    t.equal(toConnectError(new Error(reply), true).code, Code.Unavailable, reply)
  }
})

t.test('a connection that is lost leaves a write unknown, and a read not done', async (t) => {
  for (const code of ['CONNECTION_CLOSED', 'ECONNRESET', 'EPIPE']) {
    const lost = Object.assign(new Error('lost'), { code })
    t.equal(toConnectError(lost, true).code, Code.DeadlineExceeded)
    t.equal(toConnectError(new Error('wrapped', { cause: lost })).code, Code.Unavailable)
  }
  class SocketClosedUnexpectedlyError extends Error {}
  t.equal(toConnectError(new SocketClosedUnexpectedlyError(), true).code, Code.DeadlineExceeded)
})

t.test('a Connect error stays what it is; what is no error is a bug', async (t) => {
  const error = new ConnectError('taken', Code.AlreadyExists)
  t.equal(toConnectError(error), error)
  t.equal(toConnectError(new Error('aborted', { cause: error })), error)
  for (const thrown of [undefined, null, 'text', 5, {}]) t.equal(toConnectError(thrown).code, Code.Internal)
})

t.test('the table has all 16 codes, and its classes agree with their statuses', async (t) => {
  t.equal(allCodes.length, 16)
  for (const { status, errorClass, logLevel } of allCodes.map(errorMeaning)) {
    t.equal(errorClass, status < 500 ? 'client' : 'server')
    t.equal(logLevel, status < 500 ? 'info' : 'error')
  }
})
