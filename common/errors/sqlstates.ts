/**
 * The outcome of a statement by the SQLSTATE of its error.
 *
 * @see https://www.postgresql.org/docs/18/errcodes-appendix.html
 */

/**
 * `notApplied`: the statement had no effect and may succeed later. `unknown`: the connection ended, the statement may have
 * been applied. `timeout`: cancelled at a deadline. `duplicate`: a unique violation. `fault`: the statement is wrong.
 */
export type SqlMeaning = 'notApplied' | 'unknown' | 'timeout' | 'duplicate' | 'fault'

const byClass: Record<string, SqlMeaning> = {
  // connection exception; PgBouncer uses 08P01 for a statement whose server connection failed
  '08': 'unknown',
  // invalid transaction state: read-only after a failover, an unfinished transaction of a pooler
  '25': 'notApplied',
  // invalid SQL statement name, invalid cursor name: a pooler that separates the messages of a statement
  '26': 'notApplied',
  '34': 'notApplied',
  // invalid authorization: a password that was rotated
  '28': 'notApplied',
  // invalid catalog or schema name: the database does not exist (yet)
  '3D': 'notApplied',
  '3F': 'notApplied',
  // transaction rollback, insufficient resources, object not in prerequisite state, operator intervention, system error
  '40': 'notApplied',
  '53': 'notApplied',
  '55': 'notApplied',
  '57': 'notApplied',
  '58': 'notApplied',
  // snapshot too old
  '72': 'notApplied'
}

const byCode: Record<string, SqlMeaning> = {
  // no connection was established, or the server rejected it
  '08001': 'notApplied',
  '08004': 'notApplied',
  '23505': 'duplicate',
  // statement completion unknown
  '40003': 'unknown',
  // insufficient privilege: grants that the operator has changed
  '42501': 'notApplied',
  // duplicate prepared statement: a pooler
  '42P05': 'notApplied',
  // undefined table: the database is not migrated (yet)
  '42P01': 'notApplied',
  '57014': 'timeout',
  // crash shutdown: the statement may have been committed
  '57P02': 'unknown'
}

// Messages of PgBouncer without a server connection for a statement; their code is always 08P01.
const pgbouncerNotSent =
  /query_wait_timeout|server_login_retry|server login has been failing|cannot connect to server|idle_timeout|no more connections allowed|no such (database|user)|login.*failed|shutting down|database .* is disabled/i

// No SQLSTATE class starts with E; the codes of Node.js do.
const sqlstate = /^[0-9A-DF-Z][0-9A-Z]{4}$/

/** The meaning of an error of PostgreSQL or of a pooler; undefined for any other error. */
export function sqlMeaning(error: Error): SqlMeaning | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  const isFatal = severity === 'FATAL' || severity === 'PANIC'
  if (typeof code !== 'string' || !sqlstate.test(code)) return isFatal ? 'unknown' : undefined
  if (code === '08P01' && pgbouncerNotSent.test(error.message)) return 'notApplied'
  // An unlisted fatal error ends the connection; the outcome of the statement is unknown.
  return byCode[code] ?? byClass[code.slice(0, 2)] ?? (isFatal ? 'unknown' : 'fault')
}
