/** How user-svc looks at PostgreSQL for its readiness: whether it answers, and whether the pool is full. */

import type { Logger } from '#common/logging/logger.ts'
import { type Probe, ProbeError } from '#common/ops/readiness.ts'
import { type connectDatabase, isRefusal } from './database.ts'
import { sql } from './drizzle.ts'
import type { keepMigrating } from './migrations.ts'

// Then there is time to find out before readiness gives up the look, after two seconds.
const lateMs = 1400
// A server that gives no more connections should not be asked for them every second.
const refillMs = 10_000
// A password that was rotated is found before the connections that still work are lost.
const checkNewMs = 30_000
const readOnlyWarning =
  'is read-only: registrations and deletions are 503; userSvc.postgres.url must lead to a primary that takes writes'
// Looks that wait for the pool to be full.
const firstLooks = 3

/**
 * The first looks wait until all connections are open, or the server gives no more: no log-in is to be the first to
 * open one. Later they are opened beside.
 */
export function createDatabaseProbe(
  pool: Pick<ReturnType<typeof connectDatabase>, 'db' | 'fill' | 'dropIdleIfSilent' | 'checkNewConnection'>,
  migrations: Pick<ReturnType<typeof keepMigrating>, 'done' | 'state' | 'met'>,
  log: Logger
): Probe {
  const { db, fill, dropIdleIfSilent, checkNewConnection } = pool
  let waiting = firstLooks
  let checkAt = performance.now() + checkNewMs
  let warning: string | undefined
  let isShort = false
  let refillAt = Number.NEGATIVE_INFINITY

  /** @returns whether there are as many as there can be */
  async function keepFull(): Promise<boolean> {
    if (performance.now() < refillAt) return true
    try {
      await fill()
      if (isShort) log.info({ event: 'postgres_connections_complete' }, 'all connections to PostgreSQL are open')
      isShort = false
      await checkNew()
      return true
    } catch (error) {
      if (!isRefusal(error)) {
        warn(error)
        log.debug({ event: 'postgres_connection_failed', err: error }, 'a connection is tried again at the next look')
        return false
      }
      refillAt = performance.now() + refillMs
      const fields = { event: 'postgres_connections_missing', err: error }
      if (!isShort) log.warn(fields, 'PostgreSQL gives no more connections')
      isShort = true
      return true
    }
  }

  /** Connections that are open work on, so this is no outage yet. */
  async function checkNew(): Promise<void> {
    if (performance.now() < checkAt) return
    checkAt = performance.now() + checkNewMs
    try {
      await checkNewConnection()
      if (warning) log.info({ event: 'postgres_connections_accepted' }, 'PostgreSQL accepts new connections again')
      warning = undefined
    } catch (error) {
      if (!isRefusal(error)) warn(error)
    }
  }

  function warn(error: unknown): void {
    const { code = (error as Error).name } = error as { code?: string }
    const next = `no new connection can be opened (${code}${code.startsWith('28') ? ': the credentials are rejected' : ''})`
    if (next === warning) return
    warning = next
    checkAt = performance.now()
    log.warn({ event: 'postgres_connections_rejected', err: error }, 'no new connection to PostgreSQL can be opened')
  }

  return async () => {
    if (!migrations.done()) throw new ProbeError(migrations.state())
    // Those that nobody uses may be as dead as the one that is asked, and would be tried one after another.
    const late = setTimeout(() => void dropIdleIfSilent(), lateMs)
    let readOnly: string | undefined
    try {
      // A missing table makes the query fail. The setting is `on` on a standby, too.
      const { rows } = await db.execute(
        sql`select current_setting('transaction_read_only') as value, exists (select from users limit 0)`
      )
      readOnly = rows[0]?.value === 'on' ? readOnlyWarning : undefined
    } catch (error) {
      migrations.met(error)
      throw error
    } finally {
      clearTimeout(late)
    }
    const full = keepFull()
    if (waiting === 0) return readOnly ?? warning
    waiting = (await full) ? 0 : waiting - 1
    if (waiting > 0) throw new ProbeError('not all connections are open yet')
    return readOnly ?? warning
  }
}
