/** The connection to PostgreSQL. */

import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'

/** What queries go through. */
export type Database = ReturnType<typeof connectDatabase>['db']

/** Opens a pool that connects when it is first used. Statements end on the server after `queryTimeout` milliseconds. */
export function connectDatabase(options: { url: string; maxConnections: number; queryTimeout: number }) {
  const sql = postgres(options.url, {
    max: options.maxConnections,
    connect_timeout: 2,
    connection: { application_name: 'user-svc', statement_timeout: options.queryTimeout },
    // From 50 ms to 1 s, so that a database that returns is found within a second.
    backoff: (retries: number) => Math.min(0.05 * 2 ** retries, 1) * (0.5 + Math.random() / 2),
    // Asked on each new connection, and nobody catches it when that dies under the question. No column here is an array.
    fetch_types: false,
    onnotice: () => {}
  })
  return { sql, db: drizzle(sql), close: () => sql.end({ timeout: 2 }) }
}
