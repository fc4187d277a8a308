/** The responses that the schemas of routes declare: successes and problems. */

import { Code } from '@connectrpc/connect'
import { errorMeaning } from '#common/errors/codes.ts'
import { httpRefusals, problemType, reasonProblems } from './problem.ts'
import { deviceTokenExample, ref } from './schemas.ts'

const text = (description: string, ...examples: string[]) => ({ type: 'string', description, examples })
const retryAfter = { type: 'integer', description: 'Seconds to wait before another attempt.', examples: [1] }

/** The headers that responses declare. */
export const headerSchemas = {
  'X-Request-Id': text('The trace id of the request.', '0af7651916cd43dd8448eb211c80319c'),
  traceparent: text(
    'The trace of the request (W3C Trace Context).',
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  ),
  RateLimit: text('Remaining requests and seconds of the window, if a limit applies.', '"default";r=599;t=60'),
  'RateLimit-Policy': text('The limit that applies.', '"default";q=600;w=60'),
  'Retry-After': retryAfter,
  'WWW-Authenticate': text('The challenge (RFC 6750).', 'Bearer error="invalid_token"'),
  'Set-Cookie': text(
    'The cookies of the new session and of the device in cookie mode, or the end of a cookie.',
    '__Host-session=ses_AaIIZcOrd2eWnkVhjL8TCfTN0PMav45mh9HYkcoMoKxiDiMHqcNyQ4UR1TWiw37XcBKWfg; Path=/; HttpOnly; Secure; SameSite=Lax'
  ),
  'X-Device-Token': text(
    'The device token, if the client gets the session token in the body. Keep it, and send it with later logins.',
    deviceTokenExample
  ),
  'X-User-Id': text("The account's id.", '01a20865-c3ab-7767-969e-45618cbf1309'),
  'X-Session-Id': text("The session's id.", 'SEEbfY4umiHGeRoPZ3AXzg')
}
type HeaderName = keyof typeof headerSchemas

const headersOf = (names: HeaderName[]) => ({
  ...(names.length > 0 && { headers: Object.fromEntries(names.map((name) => [name, headerSchemas[name]])) })
})

/** A successful response with a body, and the headers that it has beside those of every response. */
export function answers(id: string, description: string, ...headers: HeaderName[]) {
  return { ...ref(id), description, ...headersOf(headers) }
}

/** A successful response without a body. */
export function empty(description: string, ...headers: HeaderName[]) {
  return { type: 'null', description, ...headersOf(headers) }
}

interface ProblemResponse {
  /** The name of the component in OpenAPI. */
  name: string
  description: string
  headers: HeaderName[]
  example: object
}

const invalidField = {
  field: 'password',
  pointer: '#/password',
  code: 'too_short',
  detail: 'is too short: 8 to 256 characters are accepted'
}
const traceId = '0af7651916cd43dd8448eb211c80319c'

function ofCode(code: Code, name: string, description: string, detail: string, more: object = {}): ProblemResponse {
  const { name: type, title, status } = errorMeaning(code)
  const example = { type: problemType(type), title, status, detail, traceId, ...more }
  const isRetried = code === Code.Unavailable || code === Code.ResourceExhausted
  const headers: HeaderName[] = isRetried ? ['Retry-After'] : code === Code.Unauthenticated ? ['WWW-Authenticate'] : []
  return { name, description, headers, example }
}

function ofRefusal(status: 413 | 415, name: string): ProblemResponse {
  const { code, title, detail } = httpRefusals[status]
  return {
    name,
    description: detail,
    headers: [],
    example: { type: problemType(code), title, status, detail, traceId }
  }
}

const { code: mailCode, ...mailProblem } = reasonProblems.MAIL_NOT_CONFIGURED

/** The problems that are the same on every route, by status; `default` is any other. */
export const problemResponses: Record<string, ProblemResponse> = {
  400: ofCode(
    Code.InvalidArgument,
    'InvalidInput',
    'The input is invalid; `errors` names the fields.',
    `password: ${invalidField.detail}`,
    { errors: [invalidField] }
  ),
  401: ofCode(
    Code.Unauthenticated,
    'NotAuthenticated',
    'The credentials are wrong, or the session has ended.',
    'The session has ended.'
  ),
  409: ofCode(
    Code.AlreadyExists,
    'AddressTaken',
    'An account with this address exists.',
    'An account with this address exists.'
  ),
  413: ofRefusal(413, 'ContentTooLarge'),
  415: ofRefusal(415, 'UnsupportedMediaType'),
  429: ofCode(
    Code.ResourceExhausted,
    'TooManyRequests',
    'Too many requests of this address; retry after `Retry-After` seconds.',
    'There were too many requests. Try again in 42 s.'
  ),
  501: {
    name: 'MailNotConfigured',
    description: '`mail-not-configured`: the operator has not configured emails.',
    headers: [],
    example: { type: problemType(mailCode), ...mailProblem, detail: 'This service sends no email.', traceId }
  },
  503: ofCode(
    Code.Unavailable,
    'NotApplied',
    'The request was not applied; retry after `Retry-After` seconds.',
    'The request was not applied. Try again in a moment.'
  ),
  504: ofCode(
    Code.DeadlineExceeded,
    'OutcomeUnknown',
    'The outcome is unknown: the request may have been applied or not.',
    'There was no response in time: the request may have been applied or not.'
  ),
  default: ofCode(Code.Internal, 'AnyProblem', 'Every error is a problem (RFC 9457).', 'The server failed.')
}

const { WRONG_PASSWORD, TOKEN_REJECTED, ACCOUNT_DISABLED, EMAIL_NOT_VERIFIED } = reasonProblems

/** The problems of the status 403, by type: the title, and the cause in a part of a sentence. */
const forbiddenProblems = {
  'permission-denied': {
    ...errorMeaning(Code.PermissionDenied),
    cause: 'the session is older than the re-authentication window: log in again'
  },
  'wrong-password': { ...WRONG_PASSWORD, cause: 'the password of the account is wrong' },
  'invalid-token': {
    ...TOKEN_REJECTED,
    cause: 'the token is malformed, expired, used, or older than a later change of the credentials'
  },
  'account-disabled': {
    ...ACCOUNT_DISABLED,
    cause: 'the password is correct, and an operator has disabled the account'
  },
  'email-not-verified': {
    ...EMAIL_NOT_VERIFIED,
    cause: 'the password is correct, and the address must be verified first'
  },
  'cross-origin': {
    ...httpRefusals[403],
    cause: 'a page of an origin that is not in `gateway.origins` sent a cookie, or asked for one'
  }
}
type ForbiddenType = keyof typeof forbiddenProblems

/** The responses of a route for these statuses, and for all other 4xx and 5xx. */
export function problems(...statuses: number[]): Record<string, object> {
  return {
    ...Object.fromEntries(statuses.map((status) => [status, problem(String(problemResponses[status]?.description))])),
    '4xx': problem('Any other client error.'),
    '5xx': problem('Any other server error.')
  }
}

/** The response 403, with the types of its problems; its example has the first of them. */
export function forbidden(first: ForbiddenType, ...others: ForbiddenType[]): Record<string, object> {
  const causes = [first, ...others].map((type) => `\`${type}\`: ${forbiddenProblems[type].cause}.`)
  const { title, cause } = forbiddenProblems[first]
  const detail = `${cause.charAt(0).toUpperCase()}${cause.slice(1)}.`
  return { 403: problem(causes.join(' '), { type: problemType(first), title, status: 403, detail, traceId }) }
}

function problem(description: string, example?: object) {
  return {
    description,
    content: { 'application/problem+json': { schema: ref('Problem'), ...(example && { example }) } }
  }
}

/** The credential of a route that needs a session. */
export const needsSession = [{ bearer: [] }, { cookie: [] }]
/** The credential of a route that uses a session if the request has one. */
export const takesSession = [{}, ...needsSession]
