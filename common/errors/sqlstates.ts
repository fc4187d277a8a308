/**
 * What the SQLSTATE of an error says about its statement.
 *
 * @see https://www.postgresql.org/docs/18/errcodes-appendix.html
 */

/**
 * `notApplied`: the statement had no effect and may succeed later. `unknown`: the connection ended, the statement may have
 * been applied. `late`: cancelled by a deadline. `exists`: a unique violation. `fault`: the statement is wrong.
 */
export type SqlMeaning = 'notApplied' | 'unknown' | 'late' | 'exists' | 'fault'

const byClass: Record<string, SqlMeaning> = {
  // connection exception: PgBouncer, too, answers with 08P01 to a statement whose server connection broke
  '08': 'unknown',
  // invalid transaction state: read-only after a failover, a transaction that a pooler left behind
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
  '23505': 'exists',
  // statement completion unknown
  '40003': 'unknown',
  // insufficient privilege: grants that the operator has changed
  '42501': 'notApplied',
  // duplicate prepared statement: a pooler
  '42P05': 'notApplied',
  // undefined table: the database is not migrated (yet)
  '42P01': 'notApplied',
  '57014': 'late',
  // crash shutdown: the statement may have been committed
  '57P02': 'unknown'
}

// What PgBouncer says, always with 08P01, when it has no server connection for a statement.
const pgbouncerNotSent =
  /query_wait_timeout|server_login_retry|server login has been failing|cannot connect to server|idle_timeout|no more connections allowed|no such (database|user)|login.*failed|shutting down|database .* is disabled/i

// A class never begins with E, the codes of Node.js do.
const sqlstate = /^[0-9A-DF-Z][0-9A-Z]{4}$/

/** What an error of PostgreSQL or of a pooler means; nothing for any other error. */
export function sqlMeaning(error: Error): SqlMeaning | undefined {
  const { code, severity } = error as { code?: unknown; severity?: unknown }
  const isFatal = severity === 'FATAL' || severity === 'PANIC'
  if (typeof code !== 'string' || !sqlstate.test(code)) return isFatal ? 'unknown' : undefined
  if (code === '08P01' && pgbouncerNotSent.test(error.message)) return 'notApplied'
  // Of a fatal error without a meaning of its own it is known only that the connection has ended.
  return byCode[code] ?? byClass[code.slice(0, 2)] ?? (isFatal ? 'unknown' : 'fault')
}
