/** Driver errors as Connect errors: raised by real engines where possible, otherwise the libraries' own classes. */

import { Code, ConnectError } from '@connectrpc/connect'
import { sql as query } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import {
  ClientClosedError,
  ClientOfflineError,
  ConnectionTimeoutError,
  DisconnectsClientError,
  SocketClosedUnexpectedlyError,
  SocketTimeoutDuringMaintenanceError,
  SocketTimeoutError
} from 'redis'
import t from 'tap'
import { allCodes, errorMeaning } from '#common/errors/codes.ts'
import { retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'

async function connected(options: pg.ClientConfig = {}) {
  const client = new pg.Client({ connectionString: engineAddress('TEST_POSTGRES_URL'), ...options })
  client.on('error', () => {})
  await client.connect()
  return client
}

const thrownBy = (work: PromiseLike<unknown>) =>
  Promise.resolve(work).then(
    () => undefined,
    (error) => error
  )

t.test('maps errors of node-postgres', async (t) => {
  const client = await connected()
  t.teardown(() => client.end())
  await client.query('create temporary table things (name text primary key)')
  const insert = () => drizzle(client).execute(query`insert into things values (${'hunter2'})`)
  await insert()
  const taken = toConnectError(await thrownBy(insert()))
  t.equal(taken.code, Code.AlreadyExists)
  t.notMatch(taken.message, /hunter2|things/)
  const limited = await connected({ statement_timeout: 20 })
  t.teardown(() => limited.end())
  const late = await thrownBy(limited.query('select pg_sleep(1)'))
  t.equal(toConnectError(late).code, Code.DeadlineExceeded)
  const short = await connected({ query_timeout: 20 })
  t.teardown(() => short.end())
  const unanswered = await thrownBy(short.query('select pg_sleep(1)'))
  t.equal(toConnectError(unanswered).code, Code.DeadlineExceeded)
  const bug = toConnectError(await thrownBy(client.query('select hunter2')))
  t.match(bug, { code: Code.Internal, rawMessage: 'Internal error.' })

  const refused = await thrownBy(connected({ connectionString: 'postgres://127.0.0.1:1/none' }))
  t.equal(toConnectError(refused, true).code, Code.Unavailable)
  const pool = new pg.Pool({
    connectionString: engineAddress('TEST_POSTGRES_URL'),
    max: 1,
    connectionTimeoutMillis: 50
  })
  // On a busy machine, a connection takes longer to open than a query may wait for one.
  while ((await thrownBy(pool.query('select 1'))) !== undefined);
  const first = pool.query('select pg_sleep(0.5)')
  t.equal(toConnectError(await thrownBy(pool.query('select 1')), true).code, Code.Unavailable, 'not sent')
  await first
  await pool.end()
  t.equal(toConnectError(await thrownBy(pool.query('select 1')), true).code, Code.Unavailable)

  const victim = await connected()
  const { rows } = await victim.query('select pg_backend_pid() as pid')
  const cut = thrownBy(victim.query('select pg_sleep(5)'))
  await client.query('select pg_terminate_backend($1)', [rows[0].pid])
  const ended = await cut
  t.equal(toConnectError(ended, true).code, Code.Unavailable, 'PostgreSQL reports that it did not apply the statement')
  const lost = await connected()
  const sent = thrownBy(lost.query('select pg_sleep(5)'))
  // pg has no public API to destroy the socket.
  ;(lost as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  t.equal(toConnectError(await sent, true).code, Code.DeadlineExceeded, 'the outcome is unknown')
})

t.test('maps errors of node-redis and replies of Redis', async (t) => {
  const down = connectRedis('redis://127.0.0.1:1', silentLog)
  const refused = toConnectError(await thrownBy(down.get('x')), true)
  t.equal(refused.code, Code.Unavailable)
  t.equal(retryAfterSeconds(refused), 1)
  down.destroy()
  const redis = connectRedis(engineAddress('TEST_REDIS_URL'), silentLog)
  await new Promise((resolve) => redis.once('ready', resolve))
  t.equal(toConnectError(await thrownBy(redis.sendCommand(['NOSUCH']))).code, Code.Internal)
  const key = `driver-errors-${process.pid}`
  await redis.set(key, 'of another program', { EX: 60 })
  t.equal(toConnectError(await thrownBy(redis.hDel(key, 'x')), true).code, Code.Unavailable, 'a key of a wrong type')
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

t.test('maps a lost connection to an unknown outcome of a write, and to unavailable for a read', async (t) => {
  for (const code of ['ECONNRESET', 'EPIPE']) {
    const lost = Object.assign(new Error('lost'), { code })
    t.equal(toConnectError(lost, true).code, Code.DeadlineExceeded)
    t.equal(toConnectError(new Error('wrapped', { cause: lost })).code, Code.Unavailable)
  }
})

t.test('knows the error classes of node-redis', async (t) => {
  const lost = [new SocketClosedUnexpectedlyError(), new DisconnectsClientError(), new SocketTimeoutError(100)]
  for (const error of [...lost, new SocketTimeoutDuringMaintenanceError(100)]) {
    t.equal(toConnectError(error, true).code, Code.DeadlineExceeded, error.constructor.name)
  }
  for (const error of lost) t.equal(toConnectError(error).code, Code.Unavailable, error.constructor.name)
  for (const error of [new ClientOfflineError(), new ClientClosedError(), new ConnectionTimeoutError()]) {
    t.equal(toConnectError(error, true).code, Code.Unavailable, error.constructor.name)
  }
})

t.test('keeps a Connect error, and maps any value that is not an error to internal', async (t) => {
  const error = new ConnectError('taken', Code.AlreadyExists)
  t.equal(toConnectError(error), error)
  t.equal(toConnectError(new Error('aborted', { cause: error })), error)
  for (const thrown of [undefined, null, 'text', 5, {}]) t.equal(toConnectError(thrown).code, Code.Internal)
})

t.test('has an error class and a log level for each of the 16 codes that agree with its status', async (t) => {
  t.equal(allCodes.length, 16)
  for (const { status, errorClass, logLevel } of allCodes.map(errorMeaning)) {
    t.equal(errorClass, status < 500 ? 'client' : 'server')
    t.equal(logLevel, status < 500 ? 'info' : 'error')
  }
})
