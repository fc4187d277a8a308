/** Translates what the drivers of PostgreSQL and Redis throw into Connect's codes, once for all services. */

import { Code, ConnectError } from '@connectrpc/connect'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { dependencyDown } from './connect-errors.ts'
import { sqlMeaning } from './sqlstates.ts'

// Nothing was sent, or the engine said that it did nothing: certainly not done.
const refused = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'])

// The connection went away under a statement: it may have been done.
const lost = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT'])

// What node-postgres has no code for.
const postgresRefused = new Set([
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
  'Cannot use a pool after calling end on the pool'
])
const postgresLost = new Set(['Connection terminated unexpectedly', 'Connection terminated'])
const postgresSilent = 'Query read timeout'

/** The message of an error that node-postgres gives no code: a constant, which holds nothing of a statement or a URL. */
export function driverMessage(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined
  const { message } = error
  return postgresRefused.has(message) || postgresLost.has(message) || message === postgresSilent ? message : undefined
}

const redisRefused = new Set(['ClientOfflineError', 'ClientClosedError', 'ConnectionTimeoutError'])
const redisLost = new Set([
  // Given up in the middle of what was sent.
  'DisconnectsClientError',
  'SocketClosedUnexpectedlyError',
  'SocketTimeoutError',
  'SocketTimeoutDuringMaintenanceError'
])
// MOVED and ASK are left when a slot of a cluster moves again while it is being followed.
const redisRefusals =
  /^(LOADING|MISCONF|OOM|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|BUSY|MOVED|ASK|WRONGPASS|WRONGTYPE|NOAUTH|NOPERM|DENIED|ERR max number of clients|ERR The user executing the script can't|ERR ACL failure in script)\b/

// The master became a replica while a write waited for its copies.
const redisUnknown = /^UNBLOCKED\b/

/** A connection that could not be opened, whatever the reason: the statement was not sent. */
export class NotConnectedError extends Error {
  override name = 'NotConnectedError'
  readonly code: unknown
  constructor(cause: Error) {
    super(cause.message, { cause })
    this.code = (cause as { code?: unknown }).code
  }
}

/**
 * The Connect error for anything that was thrown.
 *
 * @param write whether the failed call may have changed something: then a lost connection is
 *   `deadline_exceeded` (outcome unknown), otherwise `unavailable` (certainly not done)
 */
export function toConnectError(thrown: unknown, write = false): ConnectError {
  if (thrown instanceof ConnectError) return thrown
  const chain = causes(thrown)
  const connectError = chain.find((error) => error instanceof ConnectError)
  if (connectError) return connectError as ConnectError
  for (const error of chain) {
    const { code } = error as { code?: unknown }
    const { message } = error
    const name = error.constructor.name
    const sql = sqlMeaning(error)
    if (error instanceof NotConnectedError || sql === 'notApplied') return dependencyDown(thrown)
    if (sql === 'unknown') return write ? deadlineExceeded(thrown) : dependencyDown(thrown)
    if (sql === 'late' || name === 'TimeoutError' || message === postgresSilent) return deadlineExceeded(thrown)
    if (sql === 'exists')
      return new ConnectError('A unique value already exists.', Code.AlreadyExists, undefined, undefined, thrown)
    if (refused.has(code as string) || redisRefused.has(name) || postgresRefused.has(message))
      return dependencyDown(thrown)
    if (redisRefusals.test(message)) return dependencyDown(thrown)
    if (lost.has(code as string) || redisLost.has(name) || postgresLost.has(message) || redisUnknown.test(message))
      return write ? deadlineExceeded(thrown) : dependencyDown(thrown)
  }
  return new ConnectError('Internal error.', Code.Internal, undefined, undefined, thrown)
}

function causes(thrown: unknown): Error[] {
  const chain: Error[] = []
  for (let error = thrown; error instanceof Error && chain.length < 5; error = error.cause) {
    chain.push(error)
    if (error instanceof AggregateError) chain.push(...error.errors.filter((each) => each instanceof Error))
  }
  return chain
}
