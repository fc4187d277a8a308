/** The connections to PostgreSQL: none is waited for without end, and one that leaves a statement unanswered is given up. */

import { drizzle } from 'drizzle-orm/node-postgres'
import pg from 'pg'
import { withinMs } from '#common/time-limit.ts'
import { paced } from './paced-connects.ts'

/** What queries go through. */
export type Database = ReturnType<typeof connectDatabase>['db']

export const connectMs = 2000
// What the server's own statement timeout gets to travel. Whoever is silent even then is frozen, or gone.
const travelMs = 500
const idleMs = 60_000
// So that the network keeps a connection that is idle, and a dead one is found.
export const keepAlive = { keepAlive: true, keepAliveInitialDelayMillis: 10_000 } as const

/**
 * Opens a pool that connects when it is first used. A statement ends on the server after `queryTimeout` milliseconds;
 * if that does not say so, the connection is abandoned and its place in the pool is free.
 *
 * @param lost told when a connection that nobody was using is gone
 */
export function connectDatabase(
  options: { url: string; maxConnections: number; queryTimeout: number },
  lost: () => void = () => {}
) {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: 'user-svc',
    max: options.maxConnections,
    connectionTimeoutMillis: connectMs,
    statement_timeout: options.queryTimeout,
    query_timeout: options.queryTimeout + travelMs,
    idleTimeoutMillis: idleMs,
    ...keepAlive,
    Client: paced(pg.Client)
  })
  // It has left the pool; without a listener it would end the process.
  pool.on('error', lost)
  return { db: drizzle(pool), close: () => withinMs(connectMs, pool.end()) }
}
