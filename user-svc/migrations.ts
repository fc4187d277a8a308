/** Brings the database to the newest schema; any number of instances may try at the same time. */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Code } from '@connectrpc/connect'
import pg from 'pg'
import { postgresAddress } from '#common/config/postgres-url.ts'
import { codeName } from '#common/errors/codes.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { withinMs } from '#common/time/timeout.ts'
import { connectMs, keepAlive } from './database.ts'
import { readMigrationFiles } from './drizzle.ts'

// Any constant: it names this lock among the advisory locks of the database.
const lockId = 7_311_902
const askLockMs = 3000
const askLockEveryMs = 250
// A large table may take its time; a connection that is dead for that long is given up.
const migrateMs = 300_000
const undefinedTable = '42P01'
// Not again and again, should that not help.
const againMs = 10_000

// A migration that waits for a table stops every statement that comes after it.
const tableLockMs = 5000
const lockNotAvailable = '55P03'
const migrationsTable = 'drizzle.__drizzle_migrations'

const holders = `
  select distinct pid, application_name, state from pg_locks join pg_stat_activity using (pid)
  where granted and pid <> pg_backend_pid() and pg_locks.database = (select oid from pg_database where datname = current_database())
    and (locktype = 'advisory' and objid = $1 or relation in (to_regclass('users'), to_regclass('outbox'), to_regclass('topics')))
  order by pid limit 5`

/**
 * Applies the migrations that are missing, in one transaction under an advisory lock that ends with it: a lock of the
 * session would stay with a pooler. While another process holds a lock, one line names it.
 */
export async function migrateDatabase(url: string, log?: Logger): Promise<void> {
  const client = new pg.Client({
    application_name: 'user-svc migrations',
    ...postgresAddress(url),
    connectionTimeoutMillis: connectMs,
    ...keepAlive
  })
  // The statement in-flight fails by it, too.
  client.on('error', () => {})
  let reported = ''
  async function reportHolders(): Promise<void> {
    const query = { text: holders, values: [lockId], query_timeout: askLockMs }
    const { rows } = await client.query<{ pid: number; application_name: string; state: string | null }>(query)
    const names = rows.map(({ pid, application_name, state }) => `pid ${pid} (${application_name}, ${state ?? '?'})`)
    const reason = names.length > 0 ? `held by ${names.join(', ')}` : 'the holder is not known'
    if (reason === reported) return
    reported = reason
    log?.warn({ event: 'migration_waits', reason }, 'the migration waits for a lock of another connection')
  }
  try {
    await client.connect()
    while (!(await tryToMigrate(client, reportHolders))) await sleep(askLockEveryMs)
  } finally {
    // A statement that is still in-flight ends first, and the transaction is rolled back.
    await withinMs(connectMs, client.end()).catch(() => {})
  }
}

/** @returns whether the database has the newest schema; if not, another process holds a lock */
async function tryToMigrate(client: pg.Client, reportHolders: () => Promise<void>): Promise<boolean> {
  const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url))
  const migrations = readMigrationFiles({ migrationsFolder })
  async function run(text: string, values: unknown[] = [], timeoutMs = askLockMs) {
    const query = { text, values, query_timeout: timeoutMs }
    return (await client.query(query)).rows
  }
  async function missing() {
    const [table] = await run(`select to_regclass('${migrationsTable}') is not null as exists`)
    if (!table.exists) return migrations
    const [last] = await run(`select max(created_at) as at from ${migrationsTable}`)
    return migrations.filter(({ folderMillis }) => folderMillis > Number(last.at ?? 0))
  }
  // A database that needs nothing needs no lock, and no right to change the schema.
  if ((await missing()).length === 0) return true
  await run('begin')
  try {
    const [lock] = await run('select pg_try_advisory_xact_lock($1) as mine', [lockId])
    if (lock.mine) {
      await run(`set local lock_timeout = ${tableLockMs}`)
      await run('create schema if not exists drizzle')
      await run(
        `create table if not exists ${migrationsTable} (id serial primary key, hash text not null, created_at bigint)`
      )
      for (const { sql, hash, folderMillis } of await missing()) {
        for (const statement of sql) await run(statement, [], migrateMs)
        await run(`insert into ${migrationsTable} (hash, created_at) values ($1, $2)`, [hash, folderMillis])
      }
      await run('commit')
      return true
    }
  } catch (error) {
    if ((error as { code?: unknown }).code !== lockNotAvailable) throw error
  }
  await run('rollback')
  await reportHolders()
  return false
}

/** Migrates as soon as the database can be reached, and tells how far that is. */
export function keepMigrating(options: { url: string; migrate: boolean }, log: Logger) {
  let done = !options.migrate
  let state = 'not migrated yet'
  let timer: NodeJS.Timeout | undefined
  let mayAgainAt = 0
  async function attempt(): Promise<void> {
    try {
      await migrateDatabase(options.url, log)
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
