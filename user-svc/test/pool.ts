/** A connection pool on a test database with the tables, and a view of its connections at the server. */

import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import type { Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { createTestDatabase } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { connectDatabase } from '../database.ts'
import { createDatabaseProbe } from '../database-probe.ts'
import { migrateDatabase } from '../migrations.ts'

export const maxConnections = 5
const migrations = { done: () => true, state: () => '', onQueryError() {} }

/** @param prepare may change the database by a connection of its own, or the address that the pool uses */
export async function createTestPool(
  t: Test,
  prepare: (url: URL, admin: postgres.Sql) => Promise<void> = async () => {}
) {
  const direct = await createTestDatabase(t)
  await migrateDatabase({ url: direct })
  const admin = postgres(direct, { max: 1, onnotice: () => {} })
  const url = new URL(direct)
  await prepare(url, admin)
  const pool = connectDatabase({ url: url.href, maxConnections, queryTimeout: 10_000 })
  t.teardown(() => Promise.allSettled([pool.close(), admin.end()]))
  const lines: string[] = []
  const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
  const clock = createTestClock()
  return {
    ...pool,
    admin,
    clock,
    probe: createDatabaseProbe(pool, migrations, log, clock),
    events: () => lines.map((line) => JSON.parse(line).event as string),
    query: async () => void (await pool.db.execute(sql`select pg_sleep(0.05)`)),

    /** The process ids of the pool's connections at the server. */
    async backends(): Promise<number[]> {
      const rows = await admin`
        select pid from pg_stat_activity
        where datname = current_database() and application_name = 'user-svc' order by pid`
      return rows.map(({ pid }) => pid)
    }
  }
}

/** A role for the pool that the test may limit; it is dropped with the test. */
export async function createRole(t: Test, url: URL, admin: postgres.Sql): Promise<string> {
  const role = `role_${randomBytes(6).toString('hex')}`
  await admin.unsafe(`create role ${role} login password 'first'`)
  await admin.unsafe(`grant select on users to ${role}`)
  const direct = url.href
  t.teardown(async () => {
    const own = postgres(direct, { max: 1, onnotice: () => {} })
    await own.unsafe(`drop owned by ${role}`)
    await own.unsafe(`drop role ${role}`)
    await own.end()
  })
  Object.assign(url, { username: role, password: 'first' })
  return role
}
