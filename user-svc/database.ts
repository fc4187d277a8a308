/** The connections to PostgreSQL: none is waited for without end, and one that leaves a statement unanswered is given up. */

import pg from 'pg'
import { postgresAddress } from '#common/config/postgres-url.ts'
import { TimeoutError, withinMs } from '#common/time/timeout.ts'
import { drizzle } from './drizzle.ts'
import { paced } from './paced-connects.ts'
import { cancelling } from './statement-cancel.ts'

/** What queries go through. */
export type Database = ReturnType<typeof connectDatabase>['db']

export const connectMs = 2000
// For the answer to a cancellation. A server that does not answer that either is frozen or unreachable.
const cancelGraceMs = 500
// For an answer that needs nothing but the connection.
const silentMs = 500
// So that the network keeps a connection that is idle, and a dead one is found.
export const keepAlive = { keepAlive: true, keepAliveInitialDelayMillis: 10_000 } as const

// idle_session_timeout, and a backend that the operator terminated
const endedIdle = new Set<unknown>(['57P05', '57P01'])

/**
 * Opens a pool that connects when it is first used, or filled, and keeps what it has opened. A statement is
 * cancelled after `queryTimeout` milliseconds; if the server does not answer that, the connection is abandoned and its
 * place in the pool is free. No connection has state or startup parameters of its own (`statement_timeout`), so a pooler
 * may give each transaction another server connection.
 *
 * @param lost told when a connection that nobody was using is gone
 */
export function connectDatabase(
  options: { url: string; maxConnections: number; queryTimeout: number },
  lost: () => void = () => {}
) {
  const pool = new pg.Pool({
    application_name: 'user-svc',
    ...postgresAddress(options.url),
    max: options.maxConnections,
    connectionTimeoutMillis: connectMs,
    query_timeout: options.queryTimeout + cancelGraceMs,
    idleTimeoutMillis: 0,
    ...keepAlive,
    Client: paced(cancelling(pg.Client, options.queryTimeout, cancelGraceMs))
  })
  const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown>
  // A server that ended an idle connection has not read the statement that met its end.
  const queryAgain = (...args: unknown[]) =>
    query(...args).catch((error) => {
      if (!endedIdle.has(error?.code)) throw error
      return query(...args)
    })
  Object.assign(pool, { query: queryAgain })
  // It has left the pool; without a listener it would end the process.
  pool.on('error', lost)

  let filling: Promise<void> | undefined

  async function openMissing(): Promise<void> {
    pool.options.max = options.maxConnections
    const missing = options.maxConnections - pool.totalCount
    // Those at rest are given first, so they are asked, too.
    const asked = missing > 0 ? pool.idleCount + missing : 0
    const answers = await Promise.allSettled(Array.from({ length: asked }, () => pool.query('select')))
    const errors = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []))
    if (errors.length === 0) return
    const refusal = errors.find(isRefusal)
    // Until it is tried again, calls wait for one of those that there are.
    if (refusal) pool.options.max = Math.max(1, pool.totalCount)
    throw refusal ?? errors[0]
  }

  return {
    db: drizzle(pool),

    /**
     * Opens the connections that are missing, so that no call has to wait for one: on a busy machine the log-in at the
     * server can take seconds. Whoever asks meanwhile waits for the same.
     *
     * @throws the error of one that could not be opened, above all the server's refusal (see `isRefusal`)
     */
    fill(): Promise<void> {
      filling ??= openMissing().finally(() => {
        filling = undefined
      })
      return filling
    },

    /** @throws the error of a connection that could not be opened, while those that are open may work */
    async checkNewConnection(): Promise<void> {
      const client = new pg.Client({
        application_name: 'user-svc check',
        ...postgresAddress(options.url),
        connectionTimeoutMillis: connectMs
      })
      client.on('error', () => {})
      try {
        await client.connect()
      } finally {
        await withinMs(connectMs, client.end()).catch(() => {})
      }
    },

    /** Gives up the connections that nobody uses, if the server does not answer on one of them either. */
    async dropIdleIfSilent(): Promise<void> {
      if (pool.idleCount === 0) return
      await withinMs(silentMs, pool.query('select')).catch((error) => {
        // Whatever else is wrong with it, it has left the pool, and the look tells how the server is.
        if (!(error instanceof TimeoutError)) return
        for (let count = pool.idleCount; count > 0; count -= 1) {
          pool.connect((error, _client, release) => release?.(error ?? true))
        }
      })
    },

    close: () => withinMs(connectMs, pool.end())
  }
}

/** Whether the server, or a limit of the role or the database, gives no more connections. */
export function isRefusal(error: unknown): boolean {
  return (error as { code?: unknown }).code === '53300'
}
