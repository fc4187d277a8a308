/** user-svc's connection pool: every wait for PostgreSQL has a deadline, and unresponsive connections are closed. */

import pg from 'pg'
import { postgresTimeout } from '#common/errors/driver-errors.ts'
import { withinMs } from '#common/time/timeout.ts'
import { drizzle } from './drizzle.ts'
import { poolClient } from './postgres-client.ts'
import { postgresAddress } from './postgres-url.ts'

/** The interface of queries. */
export type Database = ReturnType<typeof connectDatabase>['db']

export const connectTimeoutMs = 2000
// Extra time for the server's response to a cancel request. Without one, the connection counts as unresponsive.
const cancelGraceMs = 500
// A ping needs no lock and no disk. Readiness gives a probe 2 s, so this leaves time for its other query.
const pingTimeoutMs = 1500
// Keeps NAT entries of idle connections alive, and finds dead connections.
export const keepAlive = { keepAlive: true, keepAliveInitialDelayMillis: 10_000 } as const

// idle_session_timeout, and a backend that the operator terminated
const endedWhileIdle = new Set<unknown>(['57P05', '57P01'])

/**
 * Creates a pool that opens connections on demand (or by `warmUp`) and keeps them. A statement is cancelled after
 * `queryTimeout` milliseconds. If the server does not respond to that either, the connection and all idle ones are
 * closed, since they share its fate. No connection has state or startup parameters of its own (`statement_timeout`), so a
 * pooler may give each transaction another server connection.
 *
 * @param onIdleLost called when an idle connection has ended
 */
export function connectDatabase(
  options: { url: string; maxConnections: number; queryTimeout: number },
  onIdleLost: () => void = () => {}
) {
  const pool = new pg.Pool({
    application_name: 'user-svc',
    ...postgresAddress(options.url),
    max: options.maxConnections,
    connectionTimeoutMillis: connectTimeoutMs,
    query_timeout: options.queryTimeout + cancelGraceMs,
    idleTimeoutMillis: 0,
    ...keepAlive,
    Client: poolClient(options.queryTimeout, cancelGraceMs)
  })
  // The pool has removed the connection. Without a listener, the error would end the process.
  pool.on('error', onIdleLost)

  const queryOnce = pool.query.bind(pool) as (...args: unknown[]) => Promise<pg.QueryResult>
  async function query(...args: unknown[]): Promise<pg.QueryResult> {
    try {
      return await queryOnce(...args)
    } catch (error) {
      const { code, message } = error as { code?: unknown; message?: unknown }
      if (message === postgresTimeout) evictIdle()
      // The server ended an idle connection before it read the statement.
      if (endedWhileIdle.has(code)) return queryOnce(...args)
      throw error
    }
  }
  Object.assign(pool, { query })

  /** Otherwise each later statement would find out about one more dead connection. */
  function evictIdle(): void {
    for (let count = pool.idleCount; count > 0; count -= 1) {
      pool.connect((error, _client, release) => release?.(error ?? true))
    }
  }

  return {
    db: drizzle(pool),

    /**
     * Opens all connections, so that no call waits for one: on a busy machine, the login at the server can take seconds.
     *
     * @throws the first error of a connection that could not be opened; the others are used
     */
    async warmUp(): Promise<void> {
      await Promise.all(Array.from({ length: options.maxConnections }, () => query('select 1')))
    },

    /** @returns whether the database rejects writes, as a standby does @throws if it does not respond in time */
    async isReadOnly(): Promise<boolean> {
      const text = `select current_setting('transaction_read_only') as value`
      const { rows } = await query({ text, query_timeout: pingTimeoutMs })
      return rows[0]?.value === 'on'
    },

    /** Opens a connection outside the pool. @throws the error of the connect, while the pool's connections may work */
    async checkNewConnection(): Promise<void> {
      const client = new pg.Client({
        application_name: 'user-svc check',
        ...postgresAddress(options.url),
        connectionTimeoutMillis: connectTimeoutMs
      })
      client.on('error', () => {})
      try {
        await client.connect()
      } finally {
        await withinMs(connectTimeoutMs, client.end()).catch(() => {})
      }
    },

    close: () => withinMs(connectTimeoutMs, pool.end())
  }
}
