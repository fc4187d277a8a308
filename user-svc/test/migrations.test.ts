/** Migrations: concurrent instances, an unavailable database, a connection that is lost during a migration. */

import { globSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import t from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { createTestDatabase, silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { connectDatabase } from '../database.ts'
import { keepMigrating, migrateDatabase } from '../migrations.ts'

const migrated = ({ done }: ReturnType<typeof keepMigrating>) => until('the database is migrated', done)

t.test('of four instances that start at the same time, one migrates', async (t) => {
  const migrations = globSync('*.sql', { cwd: join(import.meta.dirname, '../migrations') }).length
  const url = await createTestDatabase(t)
  await Promise.all(Array.from({ length: 4 }, () => migrateDatabase({ url })))
  const sql = postgres(url, { max: 1 })
  t.match(await sql`select count(*)::int as applied from drizzle.__drizzle_migrations`, [{ applied: migrations }])
  await sql.end()
})

t.test('retries until the database is available', async (t) => {
  const url = new URL(await createTestDatabase(t))
  const name = url.pathname.slice(1)
  const admin = postgres(process.env.TEST_POSTGRES_URL as string, { max: 1 })
  await admin`alter database ${admin(name)} allow_connections false`
  const migrations = keepMigrating({ url: url.href, migrate: true }, silentLog)
  t.teardown(migrations.stop)
  await until('an attempt failed', () => /not migrated yet \(unavailable\)/.test(migrations.state()))
  t.notOk(migrations.done())
  await admin`alter database ${admin(name)} allow_connections true`
  await admin.end()
  await migrated(migrations)
})

t.test('migrates again when a query finds that the tables are missing', async (t) => {
  const url = await createTestDatabase(t)
  const migrations = keepMigrating({ url, migrate: true }, silentLog)
  t.teardown(migrations.stop)
  await migrated(migrations)
  const { db, close } = connectDatabase({ url, maxConnections: 1, queryTimeout: 3000 })
  t.teardown(close)
  const query = () => db.execute(sql`select from users limit 0`)
  await db.execute(sql`drop schema public cascade`)
  await db.execute(sql`drop schema drizzle cascade`)
  await db.execute(sql`create schema public`)
  const error = await query().catch((thrown) => thrown)
  t.equal(toConnectError(error).code, Code.Unavailable, 'until then, calls are 503')
  migrations.onQueryError(new Error('something else'))
  t.ok(migrations.done())
  migrations.onQueryError(error)
  t.notOk(migrations.done())
  await migrated(migrations)
  await query()
})

t.test(
  'a connection lost during a migration leaves no partial change and no lock, and the next attempt succeeds',
  async (t) => {
    const url = await createTestDatabase(t)
    const sql = postgres(url, { max: 2, onnotice: () => {} })
    t.teardown(() => sql.end())
    // An uncommitted table of the same name blocks the migration in the middle of its transaction.
    const held = Promise.withResolvers<void>()
    const release = Promise.withResolvers<void>()
    const blocker = sql.begin(async (transaction) => {
      await transaction`create table users (id int)`
      held.resolve()
      await release.promise
      await transaction`rollback`
    })
    await held.promise
    const migrations = keepMigrating({ url, migrate: true }, silentLog)
    t.teardown(migrations.stop)
    const inside = () => sql<{ pid: number }[]>`
    select pid from pg_stat_activity where application_name = 'user-svc migrations' and datname = current_database()
      and wait_event_type = 'Lock' and query ilike '%create table "users"%'`
    const seen = new Set<number>()
    while (seen.size < 3) {
      const [found] = await inside()
      if (found && !seen.has(found.pid)) {
        seen.add(found.pid)
        await sql`select pg_terminate_backend(${found.pid})`
      }
      await sleep(20)
    }
    t.notOk(migrations.done())
    release.resolve()
    await blocker
    await migrated(migrations)
    t.equal((await sql`select from users`).length, 0)
    t.match(await sql`select count(*)::int as held from pg_locks where locktype = 'advisory'`, [{ held: 0 }])
  }
)
