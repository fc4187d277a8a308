/** How user-svc looks at PostgreSQL for its readiness: whether it answers, and whether the pool is full. */

import { sql } from 'drizzle-orm'
import type { Logger } from '#common/logger.ts'
import { type Probe, ProbeError } from '#common/readiness.ts'
import { type connectDatabase, isRefusal } from './database.ts'
import type { keepMigrating } from './migrations.ts'

// Then there is time to find out before readiness gives up the look, after two seconds.
const lateMs = 1400
// A server that gives no more connections should not be asked for them every second.
const refillMs = 10_000
// Looks that wait for the pool to be full.
const firstLooks = 3

/**
 * The first looks wait until all connections are open, or the server gives no more: no log-in is to be the first to
 * open one. Later they are opened beside.
 */
export function createDatabaseProbe(
  { db, fill, dropIdleIfSilent }: Pick<ReturnType<typeof connectDatabase>, 'db' | 'fill' | 'dropIdleIfSilent'>,
  migrations: Pick<ReturnType<typeof keepMigrating>, 'done' | 'state' | 'met'>,
  log: Logger
): Probe {
  let waiting = firstLooks
  let isShort = false
  let refillAt = Number.NEGATIVE_INFINITY

  /** @returns whether there are as many as there can be */
  async function keepFull(): Promise<boolean> {
    if (performance.now() < refillAt) return true
    try {
      await fill()
      if (isShort) log.info({ event: 'postgres_connections_complete' }, 'all connections to PostgreSQL are open')
      isShort = false
      return true
    } catch (error) {
      if (!isRefusal(error)) {
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

  return async () => {
    if (!migrations.done()) throw new ProbeError(migrations.state())
    // Those that nobody uses may be as dead as the one that is asked, and would be tried one after another.
    const late = setTimeout(() => void dropIdleIfSilent(), lateMs)
    try {
      await db.execute(sql`select from users limit 0`)
    } catch (error) {
      migrations.met(error)
      throw error
    } finally {
      clearTimeout(late)
    }
    const full = keepFull()
    if (waiting === 0) return
    waiting = (await full) ? 0 : waiting - 1
    if (waiting > 0) throw new ProbeError('not all connections are open yet')
  }
}
