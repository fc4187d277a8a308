/** Migrates the database to the newest schema; any number of instances may do so at the same time. */

import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Code } from '@connectrpc/connect'
import pg from 'pg'
import { codeName } from '#common/errors/codes.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import { connectTimeoutMs, keepAlive } from './database.ts'
import { readMigrationFiles } from './drizzle.ts'
import { postgresAddress } from './postgres-url.ts'
import { effectOfDeletion } from './schema.ts'

// Any constant: the id of this lock among the advisory locks of the database.
const lockId = 7_311_902
const queryTimeoutMs = 3000
const lockPollMs = 250
// For one statement of a migration on a large table; after that, the connection counts as dead.
const migrationTimeoutMs = 300_000
// A migration that waits for a table lock blocks every later statement on that table.
const tableLockTimeoutMs = 5000
const retryMs = 250
// After an error that the database itself may cause, such as a missing right.
const retryAfterErrorMs = 5000
// Limits repeated migrations of a database that still has no tables afterwards.
const remigrateIntervalMs = 10_000
const undefinedTable = '42P01'
const lockNotAvailable = '55P03'
const migrationsTable = 'drizzle.__drizzle_migrations'

const holders = `
  select distinct pid, application_name, state from pg_locks join pg_stat_activity using (pid)
  where granted and pid <> pg_backend_pid() and pg_locks.database = (select oid from pg_database where datname = current_database())
    and (locktype = 'advisory' and objid = $1
      or relation in (select oid from pg_class where relnamespace = current_schema()::regnamespace))
  order by pid limit 5`

// The tables are those of schema.ts; the service changes none of them, and reads no table of the migrations.
const tables = Object.keys(effectOfDeletion)
const rights = ['select', 'insert', 'update', 'delete']
const missingRights = `
  select from unnest($2::text[]) as right_name, unnest($3::text[]) as table_name
  where not has_table_privilege($1::name, table_name, right_name) limit 1`

/** The addresses of the database: that of the service, and that of the role that migrates, which may be empty. */
export interface DatabaseUrls {
  url: string
  migrationUrl?: string
}

/** Reports the connections whose locks a migration waits for. */
interface WaitLog {
  warn(fields: { event: string; reason: string }, text: string): void
}

/**
 * Applies the missing migrations in one transaction, under an advisory lock that ends with the transaction: behind a
 * pooler, a lock of the session would outlive the client. While another connection holds a lock, one log line names it.
 * With a migration URL, its role migrates, and the role of the service gets its rights on the rows.
 */
export async function migrateDatabase({ url, migrationUrl }: DatabaseUrls, log?: WaitLog): Promise<void> {
  const client = new pg.Client({
    application_name: 'user-svc migrations',
    ...postgresAddress(migrationUrl || url),
    connectionTimeoutMillis: connectTimeoutMs,
    ...keepAlive
  })
  // The in-flight statement fails with the same error.
  client.on('error', () => {})
  let reported = ''
  async function reportHolders(): Promise<void> {
    const query = { text: holders, values: [lockId], query_timeout: queryTimeoutMs }
    const { rows } = await client.query<{ pid: number; application_name: string; state: string | null }>(query)
    const names = rows.map(({ pid, application_name, state }) => `pid ${pid} (${application_name}, ${state ?? '?'})`)
    const reason = names.length > 0 ? `held by ${names.join(', ')}` : 'the holder is unknown'
    if (reason === reported) return
    reported = reason
    log?.warn({ event: 'migration_waits', reason }, 'the migration is waiting for a lock of another connection')
  }
  const grantee = migrationUrl ? postgresAddress(url).user : undefined
  try {
    await client.connect()
    while (!(await tryToMigrate(client, grantee, reportHolders))) await sleep(lockPollMs)
  } finally {
    // The server finishes an in-flight statement first, then rolls the transaction back.
    await withinMs(connectTimeoutMs, client.end()).catch(() => {})
  }
}

/** @returns whether the database has the newest schema now; if not, another connection holds a lock */
async function tryToMigrate(
  client: pg.Client,
  grantee: string | undefined,
  reportHolders: () => Promise<void>
): Promise<boolean> {
  const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url))
  const migrations = readMigrationFiles({ migrationsFolder })
  async function run(text: string, values: unknown[] = [], timeoutMs = queryTimeoutMs) {
    const query = { text, values, query_timeout: timeoutMs }
    return (await client.query(query)).rows
  }
  async function missing() {
    const [table] = await run(`select to_regclass('${migrationsTable}') is not null as exists`)
    if (!table.exists) return migrations
    const [last] = await run(`select max(created_at) as at from ${migrationsTable}`)
    return migrations.filter(({ folderMillis }) => folderMillis > Number(last.at ?? 0))
  }
  async function lacksRights() {
    return grantee !== undefined && (await run(missingRights, [grantee, rights, tables])).length > 0
  }
  // A database with the newest schema needs no lock, and the role no right to change the schema.
  if ((await missing()).length === 0 && !(await lacksRights())) return true
  await run('begin')
  try {
    const [lock] = await run('select pg_try_advisory_xact_lock($1) as mine', [lockId])
    if (lock.mine) {
      await run(`set local lock_timeout = ${tableLockTimeoutMs}`)
      await run('create schema if not exists drizzle')
      await run(
        `create table if not exists ${migrationsTable} (id serial primary key, hash text not null, created_at bigint)`
      )
      for (const { sql, hash, folderMillis } of await missing()) {
        for (const statement of sql) await run(statement, [], migrationTimeoutMs)
        await run(`insert into ${migrationsTable} (hash, created_at) values ($1, $2)`, [hash, folderMillis])
      }
      if (await lacksRights())
        await run(`grant ${rights.join(', ')} on ${tables.join(', ')} to ${pg.escapeIdentifier(grantee as string)}`)
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

/** Migrates the database as soon as it is reachable, and again if its tables disappear. */
export function keepMigrating(options: DatabaseUrls & { migrate: boolean }, log: Logger, clock: Clock = systemClock) {
  let done = !options.migrate
  let state = 'not migrated yet'
  let timer: NodeJS.Timeout | undefined
  let remigrateAt = 0
  let isStopped = false

  async function attempt(): Promise<void> {
    try {
      await migrateDatabase(options, log)
      done = true
      log.info({ event: 'database_migrated' }, 'migrated the database to the newest schema')
    } catch (error) {
      if (isStopped) return
      const { code } = toConnectError(error)
      state = `not migrated yet (${codeName(code)})`
      const level = code === Code.Unavailable || code === Code.DeadlineExceeded ? 'debug' : 'error'
      log[level]({ event: 'database_migration_failed', err: error }, 'failed to migrate the database')
      timer = setTimeout(attempt, code === Code.Internal ? retryAfterErrorMs : retryMs)
    }
  }
  if (!done) timer = setTimeout(attempt, 0)

  return {
    done: () => done,
    /** Why the database is not migrated, for an operator. */
    state: () => state,
    stop() {
      isStopped = true
      clearTimeout(timer)
    },

    /** Migrates again if a query failed because of a missing table: the database was replaced by an empty one. */
    onQueryError(error: unknown): void {
      const { code } = ((error as Error).cause ?? error) as { code?: unknown }
      if (code !== undefinedTable || !done || !options.migrate || clock.now() < remigrateAt) return
      remigrateAt = clock.now() + remigrateIntervalMs
      done = false
      state = 'the tables are missing'
      log.error({ event: 'database_empty' }, 'the tables are missing, migrating the database again')
      timer = setTimeout(attempt, 0)
    }
  }
}
