/** Migrations: many instances at once, a database that comes later, and a connection that dies in the middle. */

import { globSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import t from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { createTestDatabase, silentLog } from '#common/testing/service.ts'
import { connectDatabase } from '../database.ts'
import { keepMigrating, migrateDatabase } from '../migrations.ts'

async function migrated({ done }: ReturnType<typeof keepMigrating>): Promise<void> {
  for (let waited = 0; !done() && waited < 8000; waited += 50) await new Promise((r) => setTimeout(r, 50))
  if (!done()) throw new Error('it is not migrated')
}

t.test('four instances that start at once migrate once', async (t) => {
  const migrations = globSync('*.sql', { cwd: join(import.meta.dirname, '../migrations') }).length
  const url = await createTestDatabase(t)
  await Promise.all(Array.from({ length: 4 }, () => migrateDatabase(url)))
  const sql = postgres(url, { max: 1 })
  t.match(await sql`select count(*)::int as applied from drizzle.__drizzle_migrations`, [{ applied: migrations }])
  await sql.end()
})

t.test('a database that cannot be reached is tried again until it can', async (t) => {
  const url = new URL(await createTestDatabase(t))
  const name = url.pathname.slice(1)
  const admin = postgres(process.env.TEST_POSTGRES_URL as string, { max: 1 })
  await admin`alter database ${admin(name)} allow_connections false`
  const migrations = keepMigrating({ url: url.href, migrate: true }, silentLog)
  t.teardown(migrations.stop)
  await sleep(500)
  t.notOk(migrations.done())
  t.match(migrations.state(), /not migrated/)
  await admin`alter database ${admin(name)} allow_connections true`
  await admin.end()
  await migrated(migrations)
})

t.test('a database that came back empty is migrated again', async (t) => {
  const url = await createTestDatabase(t)
  const migrations = keepMigrating({ url, migrate: true }, silentLog)
  t.teardown(migrations.stop)
  await migrated(migrations)
  const { db, close } = connectDatabase({ url, maxConnections: 1, queryTimeout: 3000 })
  t.teardown(close)
  const ask = () => db.execute(sql`select from users limit 0`)
  await db.execute(sql`drop schema public cascade`)
  await db.execute(sql`drop schema drizzle cascade`)
  await db.execute(sql`create schema public`)
  const error = await ask().catch((thrown) => thrown)
  t.equal(toConnectError(error).code, Code.Unavailable, 'until then nothing can be done')
  migrations.onQueryError(new Error('something else'))
  t.ok(migrations.done())
  migrations.onQueryError(error)
  t.notOk(migrations.done())
  await migrated(migrations)
  await ask()
})

t.test(
  'a connection that dies inside the migration: nothing is half done, no lock is left, the next attempt succeeds',
  async (t) => {
    const url = await createTestDatabase(t)
    const sql = postgres(url, { max: 2, onnotice: () => {} })
    t.teardown(() => sql.end())
    // A table of the same name, not committed yet, holds the migration in the middle of its transaction.
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
    for (let waited = 0; !migrations.done() && waited < 8000; waited += 50) await sleep(50)
    t.ok(migrations.done())
    t.equal((await sql`select from users`).length, 0)
    t.match(await sql`select count(*)::int as held from pg_locks where locktype = 'advisory'`, [{ held: 0 }])
  }
)
