/** Migrations: many instances at once, and a database that comes later. */

import { globSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import t from 'tap'
import { createTestDatabase, silentLog } from '#common/testing.ts'
import { keepMigrating, migrateDatabase } from '../migrations.ts'

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
  await new Promise((resolve) => setTimeout(resolve, 500))
  t.notOk(migrations.done())
  t.match(migrations.state(), /not migrated/)
  await admin`alter database ${admin(name)} allow_connections true`
  await admin.end()
  for (let waited = 0; !migrations.done() && waited < 8000; waited += 50) await new Promise((r) => setTimeout(r, 50))
  t.ok(migrations.done())
})
