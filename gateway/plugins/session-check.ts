/** Finds out whose session a request carries, for the routes that need one. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { unavailable } from '#common/errors/connect-errors.ts'
import { tokenUserId } from '#common/session/session-token.ts'
import { budgetEnd, traceOf } from '../request-context.ts'
import type { Validate } from '../session-validation/batcher.ts'
import type { CurrentSession } from '../session-validation/outcome.ts'

const sessionSlot = Symbol('session')
type CheckedRequest = FastifyRequest & { [sessionSlot]?: CurrentSession }

/** A session token, and the account that it names. */
interface BearerToken {
  token: string
  userId: string
}

/** The well-formed session token in `Authorization: Bearer`, if there is one; it is taken from nowhere else. */
export function bearerToken(request: FastifyRequest): BearerToken | undefined {
  const token = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  const userId = token && tokenUserId(token)
  return userId ? { token, userId } : undefined
}

/** The token of a request that must carry one. @throws ConnectError `unauthenticated` */
export function requireToken(request: FastifyRequest): BearerToken {
  const bearer = bearerToken(request)
  if (bearer !== undefined) return bearer
  // RFC 6750, 3.1: a request without any credential is not told an error code.
  throw request.headers.authorization === undefined
    ? notAuthenticated('This needs `Authorization: Bearer <token>`.', 'Bearer')
    : notAuthenticated('The credential in `Authorization` is not a session token.', 'Bearer error="invalid_token"')
}

/** The session that the check found. */
export function sessionOf(request: CheckedRequest): CurrentSession {
  const session = request[sessionSlot]
  if (session === undefined) throw new TypeError('the route has no session check')
  return session
}

/**
 * How old a session is, in milliseconds. The clock of this process counts only beside an older session-svc, which does
 * not report the age; a use that it reports bounds the age from below.
 */
export function ageOf({ age, createdAt, lastSeenAt }: CurrentSession, now: number): number {
  return age ?? Math.max(now, lastSeenAt) - createdAt
}

/**
 * The hook: 401 only when the session is known not to be valid; whatever keeps that from
 * being known is 503, so that an outage never looks like a log-out. A session of another user than the token names is no
 * answer.
 */
export function requireSession(validate: Validate): onRequestAsyncHookHandler {
  return async (request: CheckedRequest) => {
    const { token, userId } = requireToken(request)
    const { raw } = request
    const question = { token, trace: traceOf(raw), endsAt: budgetEnd(request), isAborted: () => raw.socket.destroyed }
    const validation = await validate(question).catch((error) => {
      throw unavailable('It cannot be known at the moment whether the session is valid.', 1, error)
    })
    if (typeof validation === 'object' && validation.userId === userId) request[sessionSlot] = validation
    else if (validation === 'invalid') throw notAuthenticated('The session has ended.', 'Bearer error="invalid_token"')
    else throw unavailable('It cannot be known at the moment whether the session is valid.')
  }
}

function notAuthenticated(sentence: string, challenge: string): ConnectError {
  return new ConnectError(sentence, Code.Unauthenticated, { 'www-authenticate': challenge })
}
