/** Maps the errors of the PostgreSQL and Redis drivers to Connect errors, for all services. */

import { Code, ConnectError } from '@connectrpc/connect'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { dependencyDown } from './connect-errors.ts'
import { type SqlMeaning, sqlMeaning } from './sqlstates.ts'

// Codes of Node.js. Not sent: no connection was established.
const notSentCodes = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

// The connection ended after the statement or command was sent.
const lostCodes = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT'])

// Messages of errors without a code, of pg 8.23 (lib/client.js) and pg-pool 3.14 (index.js).
const postgresNotSent = new Set([
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Cannot use a pool after calling end on the pool'
])
const postgresLost = new Set(['Connection terminated unexpectedly', 'Connection terminated'])
/** The message of node-postgres 8.23, which gives this error no code. */
export const postgresTimeout = 'Query read timeout'

/** The message of an error that node-postgres gives no code: a constant, without parts of a statement or a URL. */
export function driverMessage(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { message } = error
  return postgresNotSent.has(message) || postgresLost.has(message) || message === postgresTimeout ? message : undefined
}

// Classes of @redis/client 6.3 (lib/errors.js), by name: services without Redis do not load the library.
const redisNotSent = new Set(['ClientOfflineError', 'ClientClosedError', 'ConnectionTimeoutError'])
const redisLost = new Set([
  'DisconnectsClientError',
  'SocketClosedUnexpectedlyError',
  'SocketTimeoutError',
  'SocketTimeoutDuringMaintenanceError'
])
// Replies of Redis that reject a command without an effect. MOVED and ASK remain if a slot moves again while a command
// follows it.
const redisRejections =
  /^(LOADING|MISCONF|OOM|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|BUSY|MOVED|ASK|WRONGPASS|WRONGTYPE|NOAUTH|NOPERM|DENIED|ERR max number of clients|ERR The user executing the script can't|ERR ACL failure in script)\b/

// The master became a replica while a write waited for its replicas.
const redisUnknown = /^UNBLOCKED\b/

/** The connection could not be established, for any reason: the statement was not sent. */
export class NotConnectedError extends Error {
  override name = 'NotConnectedError'
  readonly code: unknown
  constructor(cause: Error) {
    super(cause.message, { cause })
    this.code = (cause as { code?: unknown }).code
  }
}

/**
 * The Connect error for any thrown value.
 *
 * @param write whether the failed call may have changed data: then a lost connection is `deadline_exceeded` (outcome
 *   unknown), otherwise `unavailable` (not applied)
 */
export function toConnectError(thrown: unknown, write = false): ConnectError {
  if (thrown instanceof ConnectError) return thrown
  const chain = causes(thrown)
  const connectError = chain.find((error) => error instanceof ConnectError)
  if (connectError) return connectError as ConnectError
  switch (chain.map(failureOf).find((failure) => failure !== undefined)) {
    case 'notApplied':
      return dependencyDown(thrown)
    case 'unknown':
      return write ? deadlineExceeded(thrown) : dependencyDown(thrown)
    case 'timeout':
      return deadlineExceeded(thrown)
    case 'duplicate':
      return new ConnectError('A unique value already exists.', Code.AlreadyExists, undefined, undefined, thrown)
    default:
      return new ConnectError('Internal error.', Code.Internal, undefined, undefined, thrown)
  }
}

function failureOf(error: Error): SqlMeaning | undefined {
  const { message } = error
  const { name } = error.constructor
  const code = (error as { code?: unknown }).code as string
  if (error instanceof NotConnectedError) return 'notApplied'
  const sql = sqlMeaning(error)
  if (sql !== undefined && sql !== 'fault') return sql
  if (name === 'TimeoutError' || message === postgresTimeout) return 'timeout'
  if (notSentCodes.has(code) || redisNotSent.has(name) || postgresNotSent.has(message)) return 'notApplied'
  if (redisRejections.test(message)) return 'notApplied'
  const isLost = lostCodes.has(code) || redisLost.has(name) || postgresLost.has(message) || redisUnknown.test(message)
  return isLost ? 'unknown' : undefined
}

function causes(thrown: unknown): Error[] {
  const chain: Error[] = []
  for (let error = thrown; error instanceof Error && chain.length < 5; error = error.cause) {
    chain.push(error)
    if (error instanceof AggregateError) chain.push(...error.errors.filter((each) => each instanceof Error))
  }
  return chain
}
