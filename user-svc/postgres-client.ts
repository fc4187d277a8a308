/**
 * The client of the connection pool: node-postgres that cancels late statements and marks a failed connect as such.
 *
 * A statement is bounded by a cancel request (PostgreSQL's protocol, "Canceling Requests in Progress") instead of
 * `statement_timeout`: a transaction pooler rejects that as a startup parameter, and as a setting of the session it would
 * apply to other clients. node-postgres 8.23 has no option that sends the request: brianc/node-postgres#2774. Remove when it
 * has one.
 */

import type { EventEmitter } from 'node:events'
import pg from 'pg'
import { NotConnectedError } from '#common/errors/driver-errors.ts'

type Done = (error: Error | null, result?: unknown) => void

/** The parts of node-postgres that its types leave out. */
interface ClientInternals {
  host: string
  port: number
  ssl: unknown
  processID: number | null
  secretKey: number | null
}
type Connection = EventEmitter & {
  stream: { destroy(): void }
  connect(port: number | string, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
}

/**
 * @param cancelAfterMs the time after which the server gets a cancel request for a statement
 * @param graceMs how long the cancel request may take
 */
export function poolClient(cancelAfterMs: number, graceMs: number): typeof pg.Client {
  const Base = pg.Client as unknown as new (
    ...args: unknown[]
  ) => { connect(done: Done): void; query(...args: unknown[]): unknown }

  class PoolClient extends Base {
    override connect(done: Done): void {
      super.connect((error) => done(error && new NotConnectedError(error)))
    }

    override query(...args: unknown[]): unknown {
      const done = args.at(-1)
      // The pool passes a callback. Statements without one are node-postgres' own.
      if (typeof done !== 'function') return super.query(...args)
      return super.query(...args.slice(0, -1), this.#cancelIfLate(done as Done))
    }

    #cancelIfLate(done: Done): Done {
      let cancelled: Promise<void> | undefined
      const timer = setTimeout(() => {
        cancelled = sendCancelRequest(this as unknown as ClientInternals, graceMs)
      }, cancelAfterMs)
      return (error, result) => {
        clearTimeout(timer)
        // After an error, the pool closes the connection. After a result, the connection is released only when the
        // cancel request has been read, because the request must not cancel the next statement.
        if (cancelled === undefined || error) done(error, result)
        else void cancelled.then(() => done(error, result))
      }
    }
  }
  return PoolClient as unknown as typeof pg.Client
}

/** Resolves when the server has read the request, or after `graceMs` milliseconds. */
function sendCancelRequest({ host, port, ssl, processID, secretKey }: ClientInternals, graceMs: number): Promise<void> {
  if (processID === null || secretKey === null) return Promise.resolve()
  const connection = new pg.Connection({ ssl } as pg.ConnectionConfig) as unknown as Connection
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer)
      connection.stream.destroy()
      resolve()
    }
    const timer = setTimeout(end, graceMs)
    const send = () => connection.cancel(processID, secretKey)
    connection.on('error', end)
    connection.once('end', end)
    connection.once('connect', () => (ssl ? connection.requestSsl() : send()))
    connection.once('sslconnect', send)
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
    else connection.connect(port, host)
  })
}
