/** How user-svc looks at PostgreSQL for its readiness: whether it answers, and whether the pool is full. */

import { sql } from 'drizzle-orm'
import type { Logger } from '#common/logger.ts'
import { type Probe, ProbeError } from '#common/readiness.ts'
import { TimeoutError, withinMs } from '#common/time-limit.ts'
import type { connectDatabase } from './database.ts'
import type { keepMigrating } from './migrations.ts'

// A little less than readiness gives to a look.
const answerMs = 1900
// A server that gives no more connections should not be asked for them every second.
const refillMs = 10_000

/**
 * The first look waits until all connections are open, or the server refuses one: no log-in is to be the first to open
 * one. Later they are opened beside.
 */
export function createDatabaseProbe(
  { db, fill, dropIdle }: Pick<ReturnType<typeof connectDatabase>, 'db' | 'fill' | 'dropIdle'>,
  migrations: Pick<ReturnType<typeof keepMigrating>, 'done' | 'state' | 'met'>,
  log: Logger
): Probe {
  let isFirst = true
  let isShort = false
  let refillAt = Number.NEGATIVE_INFINITY

  async function keepFull(): Promise<void> {
    if (performance.now() < refillAt) return
    try {
      await fill()
      if (isShort) log.info({ event: 'postgres_connections_complete' }, 'all connections to PostgreSQL are open')
      isShort = false
    } catch (error) {
      refillAt = performance.now() + refillMs
      if (!isShort) log.warn({ event: 'postgres_connections_missing', err: error }, 'some connections cannot be opened')
      isShort = true
    }
  }

  return async () => {
    if (!migrations.done()) throw new ProbeError(migrations.state())
    await withinMs(answerMs, db.execute(sql`select from users limit 0`)).catch((error) => {
      // Those that nobody uses may be as dead as this one, and would be tried one after another.
      if (error instanceof TimeoutError) dropIdle()
      migrations.met(error)
      throw error
    })
    const full = keepFull()
    if (isFirst) await full
    isFirst = false
  }
}
