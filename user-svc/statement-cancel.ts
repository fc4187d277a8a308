/**
 * Bounds a statement by a cancel request (PostgreSQL's protocol, "Canceling Requests in Progress"). A transaction pooler
 * takes no `statement_timeout` at the start of a connection, and a setting of the session would meet other clients; the
 * request costs nothing until a statement is late.
 */

import type { EventEmitter } from 'node:events'
import pg from 'pg'

type Done = (error: Error | null, result?: unknown) => void

/** The parts of node-postgres that its types leave out. */
interface Internals {
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

/** A client that cancels a statement after `afterMs` milliseconds. */
export function cancelling(Client: typeof pg.Client, afterMs: number, graceMs: number): typeof pg.Client {
  const Base = Client as unknown as new (...args: unknown[]) => { query(...args: unknown[]): unknown }
  class Cancelling extends Base {
    override query(...args: unknown[]): unknown {
      const done = args.at(-1) as Done
      // The pool's calls have a callback.
      if (typeof done !== 'function') return super.query(...args)
      let cancelled: Promise<void> | undefined
      const timer = setTimeout(() => {
        cancelled = cancel(this as unknown as Internals, graceMs)
      }, afterMs)
      const settle: Done = (error, result) => {
        clearTimeout(timer)
        // The pool drops the connection of an error. Of a statement that ended by itself, the connection stays in use
        // until the request is over: it must not cancel the next statement.
        if (cancelled === undefined || error) done(error, result)
        else void cancelled.then(() => done(error, result))
      }
      return super.query(...args.slice(0, -1), settle)
    }
  }
  return Cancelling as unknown as typeof pg.Client
}

/** Resolves when the server has read the request, or after `graceMs` milliseconds. */
function cancel({ host, port, ssl, processID, secretKey }: Internals, graceMs: number): Promise<void> {
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
