/** Brings the database to the newest schema; any number of instances may try at the same time. */

import { fileURLToPath } from 'node:url'
import { Code } from '@connectrpc/connect'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { toConnectError } from '#common/driver-errors.ts'
import { codeName } from '#common/error-table.ts'
import type { Logger } from '#common/logger.ts'
import { withinMs } from '#common/time-limit.ts'

// Any constant: it names this lock among the advisory locks of the database.
const lockId = 7_311_902
const attemptMs = 60_000

/** Applies what is missing, under an advisory lock: drizzle's own `migrate` fails when two run at once. */
export async function migrateDatabase(url: string): Promise<void> {
  const sql = postgres(url, { max: 1, connect_timeout: 2, onnotice: () => {} })
  try {
    await sql`select pg_advisory_lock(${lockId})`
    await migrate(drizzle(sql), { migrationsFolder: fileURLToPath(new URL('./migrations', import.meta.url)) })
  } finally {
    await sql.end({ timeout: 2 })
  }
}

/** Migrates as soon as the database can be reached, and tells how far that is. */
export function keepMigrating(options: { url: string; migrate: boolean }, log: Logger) {
  let done = !options.migrate
  let state = 'not migrated yet'
  let timer: NodeJS.Timeout | undefined
  async function attempt(): Promise<void> {
    try {
      await withinMs(attemptMs, migrateDatabase(options.url))
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
  return { done: () => done, state: () => state, stop: () => clearTimeout(timer) }
}
