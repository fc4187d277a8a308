/** Problem details (RFC 9457): the response of every error. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyError } from 'fastify'
import { errorMeaning } from '#common/errors/codes.ts'
import { fieldViolations, reasonOf, retryAfterSeconds } from '#common/errors/connect-errors.ts'

/** The body of an error, without the trace id. */
interface Problem {
  type: string
  title: string
  status: number
  detail: string
  errors?: { field: string; pointer: string; code: string; detail: string }[]
}

/** The response of an error, and its labels in `request_errors_total`. */
export interface Answer {
  problem: Problem
  headers: Record<string, string>
  errorClass: 'client' | 'server'
  /** Also the last part of the problem's type. */
  code: string
}

/** The errors of HTTP that have no Connect code. */
export const httpRefusals = {
  403: {
    code: 'cross_origin',
    title: 'Cross-origin request',
    detail: 'A page of an origin that is not in `gateway.origins` sent this request.'
  },
  405: { code: 'method_not_allowed', title: 'Method not allowed', detail: 'This path does not support this method.' },
  408: { code: 'request_timeout', title: 'Request timeout', detail: 'The request did not arrive in time.' },
  413: { code: 'content_too_large', title: 'Content too large', detail: 'The body is larger than 16 KiB.' },
  417: { code: 'expectation_failed', title: 'Expectation failed', detail: 'Only `100-continue` can be expected.' },
  415: {
    code: 'unsupported_media_type',
    title: 'Unsupported media type',
    detail: 'The body must be JSON in UTF-8, with `Content-Type: application/json` and without `Content-Encoding`.'
  },
  431: {
    code: 'header_fields_too_large',
    title: 'Header fields too large',
    detail: 'The header is larger than 16 KiB.'
  }
} as const

/** An error of HTTP, such as 405. */
export class HttpRefusal extends Error {
  override name = 'HttpRefusal'
  readonly status: keyof typeof httpRefusals
  readonly headers: Record<string, string>
  constructor(status: keyof typeof httpRefusals, headers: Record<string, string> = {}) {
    super(httpRefusals[status].detail)
    this.status = status
    this.headers = headers
  }
}

// Every server error of a code has the same sentence, so that it reveals nothing else.
const serverDetails: Partial<Record<Code, string>> = {
  [Code.Unavailable]: 'The request was not applied. Try again in a moment.',
  [Code.DeadlineExceeded]: 'There was no response in time: the request may have been applied or not.'
}

/** The error of a request whose client closed the connection before the response. */
export const clientClosed = () => new ConnectError('The client closed the connection.', Code.Canceled)

export const problemType = (code: string) => `urn:problem-type:${code.replaceAll('_', '-')}`

/** A JSON pointer as a URI fragment (RFC 6901, 6); `body` is the whole document. */
function pointerTo(field: string): string {
  return field === 'body' ? '#' : `#/${encodeURIComponent(field.replaceAll('~', '~0').replaceAll('/', '~1'))}`
}

/** The problems of errors with a reason of `user.v1`, instead of those of their codes. */
export const reasonProblems = {
  WRONG_PASSWORD: { code: 'wrong_password', status: 403, title: 'Wrong password' },
  TOKEN_REJECTED: { code: 'invalid_token', status: 403, title: 'Invalid token' },
  ACCOUNT_DISABLED: { code: 'account_disabled', status: 403, title: 'Account disabled' },
  EMAIL_NOT_VERIFIED: { code: 'email_not_verified', status: 403, title: 'Email address not verified' },
  // The operator has chosen it: no failure, and so of the class `client`.
  MAIL_NOT_CONFIGURED: { code: 'mail_not_configured', status: 501, title: 'Mail not configured' }
} as const
type ProblemReason = keyof typeof reasonProblems

/** The response of anything that was thrown. */
export function answerTo(thrown: unknown): Answer {
  const refusal = thrown instanceof HttpRefusal ? thrown : fromFastify(thrown as Partial<FastifyError>)
  if (refusal instanceof HttpRefusal) return refused(refusal)
  const error = refusal ?? (thrown instanceof ConnectError ? thrown : new ConnectError('internal', Code.Internal))
  const reason = reasonOf(error, 'user.v1') as ProblemReason | 'ACCOUNT_NOT_FOUND' | undefined
  if (reason === 'ACCOUNT_NOT_FOUND') return answerTo(accountGone())
  const special = reason && reasonProblems[reason]
  if (special !== undefined) {
    const { code, status, title } = special
    const problem = { type: problemType(code), title, status, detail: error.rawMessage }
    return { problem, headers: {}, errorClass: 'client', code }
  }
  const { name, status, title, errorClass } = errorMeaning(error.code)
  const errors = fieldViolations(error).map(({ field, code, description }) => {
    return { field, pointer: pointerTo(field), code, detail: description }
  })
  const detail = errorClass === 'client' ? error.rawMessage : (serverDetails[error.code] ?? 'The server failed.')
  return {
    problem: { type: problemType(name), title, status, detail, ...(errors.length > 0 && { errors }) },
    headers: headersOf(error),
    errorClass,
    code: name
  }
}

/** The account of a session that was valid has been deleted meanwhile: its sessions have ended. */
function accountGone(): ConnectError {
  const challenge = { 'www-authenticate': 'Bearer error="invalid_token"' }
  return new ConnectError('The session has ended.', Code.Unauthenticated, challenge)
}

/** Without a delay of its own, an error of these codes has a default. */
const defaultRetryAfterSeconds: Partial<Record<Code, number>> = { [Code.Unavailable]: 1, [Code.ResourceExhausted]: 60 }

function headersOf(error: ConnectError): Record<string, string> {
  if (error.code === Code.Unauthenticated) {
    return { 'www-authenticate': error.metadata.get('www-authenticate') ?? 'Bearer' }
  }
  const defaultSeconds = defaultRetryAfterSeconds[error.code]
  return defaultSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds(error) ?? defaultSeconds) }
}

function refused({ status, headers }: HttpRefusal): Answer {
  const { code, title, detail } = httpRefusals[status]
  return {
    problem: { type: problemType(code), title, status, detail },
    headers,
    errorClass: 'client',
    code
  }
}

/** The error that Fastify or one of its plugins threw; undefined for any other error. */
function fromFastify(error: Partial<FastifyError>): ConnectError | HttpRefusal | undefined {
  const { code, statusCode = 500 } = error
  if (typeof code !== 'string' || !code.startsWith('FST_')) return undefined
  // The errors of @fastify/static for missing and forbidden files.
  if (statusCode === 403 || statusCode === 404) return new ConnectError('There is nothing at this path.', Code.NotFound)
  if (statusCode in httpRefusals) return new HttpRefusal(statusCode as keyof typeof httpRefusals)
  return statusCode < 500 ? new ConnectError('The request is malformed.', Code.InvalidArgument) : undefined
}
