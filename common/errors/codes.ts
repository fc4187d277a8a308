/** The 16 Connect codes: HTTP status, problem title, error class and log level. Responses, logs and metrics read this table. */

import { Code } from '@connectrpc/connect'

interface ErrorMeaning {
  /** The code's name on the wire. */
  name: string
  /** HTTP status (RFC 9110). */
  status: number
  /** The problem's title (RFC 9457); the same for every occurrence. */
  title: string
  /** The party at fault; the label `error_class`. */
  errorClass: 'client' | 'server'
  logLevel: 'info' | 'error'
}

const client = (name: string, status: number, title: string): ErrorMeaning => {
  return { name, status, title, errorClass: 'client', logLevel: 'info' }
}
const server = (name: string, status: number, title: string): ErrorMeaning => {
  return { name, status, title, errorClass: 'server', logLevel: 'error' }
}

const table: Record<Code, ErrorMeaning> = {
  [Code.Canceled]: client('canceled', 499, 'The client closed the request'),
  [Code.Unknown]: server('unknown', 500, 'Internal error'),
  [Code.InvalidArgument]: client('invalid_argument', 400, 'Invalid input'),
  [Code.DeadlineExceeded]: server('deadline_exceeded', 504, 'No answer in time'),
  [Code.NotFound]: client('not_found', 404, 'Not found'),
  [Code.AlreadyExists]: client('already_exists', 409, 'Already exists'),
  [Code.PermissionDenied]: client('permission_denied', 403, 'Not allowed'),
  [Code.ResourceExhausted]: client('resource_exhausted', 429, 'Too many requests'),
  [Code.FailedPrecondition]: client('failed_precondition', 400, 'Not possible in this state'),
  [Code.Aborted]: client('aborted', 409, 'Conflict'),
  [Code.OutOfRange]: client('out_of_range', 400, 'Out of range'),
  [Code.Unimplemented]: server('unimplemented', 501, 'Not supported'),
  [Code.Internal]: server('internal', 500, 'Internal error'),
  [Code.Unavailable]: server('unavailable', 503, 'Temporarily unavailable'),
  [Code.DataLoss]: server('data_loss', 500, 'Internal error'),
  [Code.Unauthenticated]: client('unauthenticated', 401, 'Not authenticated')
}

export function errorMeaning(code: Code): ErrorMeaning {
  return table[code]
}

/** The code's name on the wire, such as `deadline_exceeded`. */
export function codeName(code: Code): string {
  return table[code].name
}

/** All codes, for metrics that start at zero. */
export const allCodes: readonly Code[] = Object.keys(table).map((code) => Number(code) as Code)
