/** Brings the database to the newest schema; any number of instances may try at the same time. */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Code } from '@connectrpc/connect'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'
import { toConnectError } from '#common/driver-errors.ts'
import { codeName } from '#common/error-table.ts'
import type { Logger } from '#common/logger.ts'
import { postgresAddress } from '#common/postgres-url.ts'
import { withinMs } from '#common/time-limit.ts'
import { connectMs, keepAlive } from './database.ts'

// Any constant: it names this lock among the advisory locks of the database.
const lockId = 7_311_902
const askLockMs = 3000
const askLockEveryMs = 250
// A large table may take its time; a connection that is dead for that long is given up.
const migrateMs = 300_000
const undefinedTable = '42P01'
// Not again and again, should that not help.
const againMs = 10_000

/** Applies what is missing, under an advisory lock: drizzle's own `migrate` fails when two run at once. */
export async function migrateDatabase(url: string): Promise<void> {
  const client = new pg.Client({
    application_name: 'user-svc migrations',
    ...postgresAddress(url),
    connectionTimeoutMillis: connectMs,
    ...keepAlive
  })
  // The statement under way fails by it, too.
  client.on('error', () => {})
  const lock = { text: 'select pg_try_advisory_lock($1) as mine', values: [lockId], query_timeout: askLockMs }
  try {
    await client.connect()
    while (!(await client.query(lock)).rows[0].mine) await sleep(askLockEveryMs)
    const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url))
    await withinMs(migrateMs, migrate(drizzle(client), { migrationsFolder }))
  } finally {
    // With the connection goes the lock; a statement that is still under way ends first, and is rolled back.
    await withinMs(connectMs, client.end()).catch(() => {})
  }
}

/** Migrates as soon as the database can be reached, and tells how far that is. */
export function keepMigrating(options: { url: string; migrate: boolean }, log: Logger) {
  let done = !options.migrate
  let state = 'not migrated yet'
  let timer: NodeJS.Timeout | undefined
  let mayAgainAt = 0
  async function attempt(): Promise<void> {
    try {
      await migrateDatabase(options.url)
      done = true
      log.info({ event: 'database_migrated' }, 'the database has the newest schema')
    } catch (error) {
      const { code } = toConnectError(error)
      state = `not migrated yet (${codeName(code)})`
      const level = code === Code.Unavailable || code === Code.DeadlineExceeded ? 'debug' : 'error'
      log[level]({ event: 'database_migration_failed', err: error }, 'the database could not be migrated')
      timer = setTimeout(attempt, code === Code.Internal ? 5000 : 250)
    }
  }
  if (!done) timer = setTimeout(attempt, 0)
  return {
    done: () => done,
    state: () => state,
    stop: () => clearTimeout(timer),

    /** Is told of what a question to a table has met: a database that came back empty is migrated anew, as at a start. */
    met(error: unknown): void {
      const { code } = ((error as Error).cause ?? error) as { code?: unknown }
      if (code !== undefinedTable || !done || !options.migrate || performance.now() < mayAgainAt) return
      mayAgainAt = performance.now() + againMs
      done = false
      state = 'the tables are gone'
      log.error({ event: 'database_empty' }, 'the tables are gone; the database is migrated anew')
      timer = setTimeout(attempt, 0)
    }
  }
}
