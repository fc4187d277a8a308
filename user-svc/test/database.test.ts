/** The connections to PostgreSQL: opened before they are needed, again after losses, and given up when they may be dead. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createTestDatabase } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { withinMs } from '#common/time/timeout.ts'
import { startLossyProxy } from '../../test/support/lossy-proxy.ts'
import { connectDatabase } from '../database.ts'
import { createDatabaseProbe } from '../database-probe.ts'
import { migrateDatabase } from '../migrations.ts'

const maxConnections = 5
const migrations = { done: () => true, state: () => '', met: () => {} }

/** A pool of a database with the tables, and a look at what the server has of it. */
async function setUp(t: Test, through: (url: URL) => Promise<void> = async () => {}) {
  const direct = await createTestDatabase(t)
  await migrateDatabase(direct)
  const url = new URL(direct)
  await through(url)
  const admin = postgres(direct, { max: 1, onnotice: () => {} })
  const pool = connectDatabase({ url: url.href, maxConnections, queryTimeout: 10_000 })
  t.teardown(() => Promise.allSettled([pool.close(), admin.end()]))
  async function backends(state = '%'): Promise<number[]> {
    const rows = await admin`
      select pid from pg_stat_activity
      where datname = current_database() and application_name = 'user-svc' and state like ${state} order by pid`
    return rows.map(({ pid }) => pid)
  }
  const lines: string[] = []
  const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
  return {
    ...pool,
    admin,
    backends,
    probe: createDatabaseProbe(pool, migrations, log),
    events: () => lines.map((line) => JSON.parse(line).event as string),
    ask: async (seconds = 0.05) => void (await pool.db.execute(sql`select pg_sleep(${seconds})`))
  }
}

t.test('a pool that is filled opens nothing more', async (t) => {
  const { ask, fill, backends } = await setUp(t)
  t.same(await backends(), [], 'what nobody uses opens nothing')
  await ask()
  const [first] = await backends()
  await Promise.all([fill(), fill()])
  const filled = await backends()
  t.equal(filled.length, maxConnections)
  t.ok(filled.includes(first as number), 'what was open stays open')
  await fill()
  await Promise.all(Array.from({ length: 3 * maxConnections }, () => ask()))
  t.same(await backends(), filled)
})

t.test('the first look waits for all connections; what is lost later is opened again beside', async (t) => {
  const { ask, admin, backends, probe, events } = await setUp(t)
  await probe()
  const filled = await backends()
  t.equal(filled.length, maxConnections)
  const underWay = t.resolves(ask(3))
  await until('it is under way', async () => (await backends('active')).length === 1)
  await admin`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and application_name = 'user-svc' and state = 'idle'`
  await until('all are open again', async () => {
    // A look may meet one that has just been lost.
    await probe().catch(() => {})
    const open = await backends()
    return open.length === maxConnections && open.filter((pid) => filled.includes(pid)).length === 1
  })
  await underWay
  t.same(events(), [])
})

t.test('where the server gives fewer connections, those that there are serve, and one line reports it', async (t) => {
  let laterMs = 0
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + laterMs })
  const role = `limited_${randomBytes(6).toString('hex')}`
  const { ask, admin, backends, fill, probe, events } = await setUp(t, async (url) => {
    const admin = postgres(url.href, { max: 1, onnotice: () => {} })
    await admin.unsafe(`create role ${role} login password 'limited' connection limit 2`)
    await admin.unsafe(`grant select on users to ${role}`)
    await admin.end()
    Object.assign(url, { username: role, password: 'limited' })
  })
  try {
    await probe()
    await Promise.all(Array.from({ length: 3 * maxConnections }, () => ask()))
    laterMs += 10_000
    await probe()
    await t.rejects(fill(), { code: '53300' })
    t.same(events(), ['postgres_connections_missing'])
    t.equal((await backends()).length, 2)
    await admin.unsafe(`alter role ${role} connection limit -1`)
    await until('all are open', async () => {
      laterMs += 10_000
      await probe()
      return (await backends()).length === maxConnections
    })
    await until('a line reports it', async () => events().length === 2)
    t.same(events(), ['postgres_connections_missing', 'postgres_connections_complete'])
  } finally {
    await admin.unsafe(`revoke all on users from ${role}`)
    await admin.unsafe(`drop role ${role}`)
  }
})

async function setUpBehindProxy(t: Test) {
  let proxy: Awaited<ReturnType<typeof startLossyProxy>> | undefined
  const all = await setUp(t, async (url) => {
    proxy = await startLossyProxy(t, { port: Number(url.port) })
    url.port = String(proxy.port)
  })
  return { ...all, proxy: proxy as NonNullable<typeof proxy> }
}

t.test('connections that died in silence are given up all at once', async (t) => {
  const { probe, fill, proxy } = await setUpBehindProxy(t)
  await probe()
  t.equal(proxy.openedAt.length, maxConnections)
  proxy.fallSilent()
  proxy.speak()
  await t.rejects(withinMs(2000, probe()), { name: 'TimeoutError' })
  // As readiness does before it looks again.
  await sleep(200)
  await t.resolves(probe(), 'the next look has a connection that lives')
  await fill()
  t.equal(proxy.openedAt.length, 2 * maxConnections - 2, 'the two that were asked are given up later')
})

t.test('a table that is locked costs no connection', async (t) => {
  const { admin, backends, probe } = await setUp(t)
  await probe()
  const filled = await backends()
  await admin.begin(async (transaction) => {
    await transaction`lock table users`
    await t.rejects(withinMs(2000, probe()), { name: 'TimeoutError' })
  })
  t.same(await backends(), filled)
})

fieldCase(t, 10, 'a lock_timeout of the database is 503, for reads and for writes', async (t) => {
  const { db, admin } = await setUp(t, async (url) => {
    const admin = postgres(url.href, { max: 1, onnotice: () => {} })
    await admin.unsafe(`alter database ${url.pathname.slice(1)} set lock_timeout = '200ms'`)
    await admin.end()
  })
  await admin.begin(async (transaction) => {
    await transaction`lock table users`
    for (const statement of [sql`select from users`, sql`delete from users`]) {
      const error = await db.execute(statement).catch((thrown) => thrown)
      t.equal(error.cause?.code, '55P03')
      t.equal(toConnectError(error, true).code, Code.Unavailable)
    }
  })
})

fieldCase(t, 10, 'under an idle_session_timeout of 300 ms the pool works on', async (t) => {
  const { probe, ask, events } = await setUp(t, async (url) => {
    const admin = postgres(url.href, { max: 1, onnotice: () => {} })
    await admin.unsafe(`alter database ${url.pathname.slice(1)} set idle_session_timeout = '300ms'`)
    await admin.end()
  })
  await probe()
  const codes = new Set<Code>()
  for (let round = 0; round < 40; round++) {
    await ask(0).catch((error) => codes.add(toConnectError(error).code))
    await sleep(round % 2 ? 10 : 298)
  }
  codes.delete(Code.Unavailable)
  t.same([...codes], [], 'a statement that met the end of its connection is retried, or 503')
  await probe()
  t.same(events(), [])
})

fieldCase(t, 10, 'a rotated password is reported while the open connections work on', async (t) => {
  let laterMs = 0
  const now = performance.now.bind(performance)
  t.intercept(performance, 'now', { value: () => now() + laterMs })
  const role = `rotated_${randomBytes(6).toString('hex')}`
  const { ask, admin, backends, probe, events } = await setUp(t, async (url) => {
    const admin = postgres(url.href, { max: 1, onnotice: () => {} })
    await admin.unsafe(`create role ${role} login password 'first'`)
    await admin.unsafe(`grant select on users to ${role}`)
    await admin.end()
    Object.assign(url, { username: role, password: 'first' })
  })
  try {
    t.equal(await probe(), undefined)
    await admin.unsafe(`alter role ${role} password 'second'`)
    laterMs += 30_000
    await until('it is reported', async () => (await probe()) !== undefined)
    t.equal(await probe(), 'no new connection can be opened (28P01: the credentials are rejected)')
    t.same(events(), ['postgres_connections_rejected'])
    await Promise.all(Array.from({ length: 3 * maxConnections }, () => ask()))
    t.equal((await backends()).length, maxConnections)
    await admin.unsafe(`alter role ${role} password 'first'`)
    laterMs += 30_000
    await until('the warning ends', async () => (await probe()) === undefined)
    t.same(events(), ['postgres_connections_rejected', 'postgres_connections_accepted'])
  } finally {
    await admin.unsafe(`revoke all on users from ${role}`)
    await admin.unsafe(`drop role ${role}`)
  }
})

t.test('a database that refuses writes is reported while reads are served', async (t) => {
  const { admin, ask, probe, dropIdleIfSilent } = await setUp(t)
  t.equal(await probe(), undefined)
  const [{ name }] = (await admin`select current_database() as name`) as [{ name: string }]
  const end = () =>
    admin`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name} and pid <> pg_backend_pid()`
  const probed = () => probe().catch(async () => void (await dropIdleIfSilent()))
  await admin.unsafe(`alter database ${name} set default_transaction_read_only = on`)
  await end()
  await until('it is reported', async () => /^is read-only: .*primary/.test((await probed()) ?? ''))
  await t.resolves(ask())
  await admin.unsafe('set default_transaction_read_only = off')
  await admin.unsafe(`alter database ${name} reset default_transaction_read_only`)
  await end()
  await until('the warning ends', async () => (await probe().catch(() => 'it meets an ended connection')) === undefined)
})
