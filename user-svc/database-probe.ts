/** The readiness probe of PostgreSQL: migrated, responding, warm; warns when writes or new connections are rejected. */

import type { Logger } from '#common/logging/logger.ts'
import { type Probe, ProbeError } from '#common/ops/probe.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { connectDatabase } from './database.ts'
import { sql } from './drizzle.ts'
import type { keepMigrating } from './migrations.ts'

// Finds a rotated password before the open connections, which still work, are lost.
const checkIntervalMs = 30_000
const tooManyConnections = '53300'
const readOnlyWarning =
  'is read-only: registrations and deletions are 503; userSvc.postgres.url must lead to a primary that takes writes'

type Pool = ReturnType<typeof connectDatabase>

/** The first successful probe also opens all connections of the pool, so that no login waits for one. */
export function createDatabaseProbe(
  pool: Pick<Pool, 'db' | 'warmUp' | 'isReadOnly' | 'checkNewConnection'>,
  migrations: Pick<ReturnType<typeof keepMigrating>, 'done' | 'state' | 'onQueryError'>,
  log: Logger,
  clock: Clock = systemClock
): Probe {
  const newConnections = watchNewConnections(pool, log, clock)
  let warmedUp: Promise<void> | undefined

  return async () => {
    if (!migrations.done()) throw new ProbeError(migrations.state(), true)
    const isReadOnly = await pool.isReadOnly()
    // Fails if the table is missing.
    await pool.db.execute(sql`select from users limit 0`).catch((error) => {
      migrations.onQueryError(error)
      throw error
    })
    warmedUp ??= pool.warmUp().catch((error) => {
      log.warn({ event: 'postgres_connections_missing', err: error }, 'opened fewer connections than configured')
    })
    await warmedUp
    void newConnections.check()
    return isReadOnly ? readOnlyWarning : newConnections.warning()
  }
}

/** Opens a connection every 30 s and keeps the warning of the last failure. */
function watchNewConnections(pool: Pick<Pool, 'checkNewConnection'>, log: Logger, clock: Clock) {
  let nextAt = clock.now() + checkIntervalMs
  let warning: string | undefined

  async function check(): Promise<void> {
    if (clock.now() < nextAt) return
    nextAt = clock.now() + checkIntervalMs
    try {
      await pool.checkNewConnection()
      if (warning) log.info({ event: 'postgres_connections_accepted' }, 'PostgreSQL accepts new connections again')
      warning = undefined
    } catch (error) {
      const { code = (error as Error).name } = error as { code?: string }
      // A limit of the server or the role may be reached by the open connections themselves.
      if (code === tooManyConnections) return
      const detail = code.startsWith('28') ? `${code}: the credentials are rejected` : code
      if (!warning) log.warn({ event: 'postgres_connections_rejected', err: error }, 'PostgreSQL rejected a connection')
      warning = `no new connection can be opened (${detail})`
    }
  }
  return { check, warning: () => warning }
}
