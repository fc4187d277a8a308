/** Authenticates a request by its session token, for the routes that need a session. */

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

/** The well-formed session token in `Authorization: Bearer`, if there is one. No other source counts. */
export function bearerToken(request: FastifyRequest): BearerToken | undefined {
  const token = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  const userId = token && tokenUserId(token)
  return userId ? { token, userId } : undefined
}

/** The token of a request that must carry one. @throws ConnectError `unauthenticated` */
export function requireToken(request: FastifyRequest): BearerToken {
  const bearer = bearerToken(request)
  if (bearer !== undefined) return bearer
  // RFC 6750, 3.1: the challenge to a request without any credential has no error code.
  throw request.headers.authorization === undefined
    ? notAuthenticated('This route needs `Authorization: Bearer <token>`.', 'Bearer')
    : notAuthenticated('The credential in `Authorization` is not a session token.', 'Bearer error="invalid_token"')
}

/** The session of a request that `requireSession` has accepted. */
export function sessionOf(request: CheckedRequest): CurrentSession {
  const session = request[sessionSlot]
  if (session === undefined) throw new TypeError('the route has no session check')
  return session
}

/**
 * The age of a session, in milliseconds. The clock of this process counts only if an older session-svc does not report
 * the age; the session is then at least as old as at its last use.
 */
export function ageOf({ age, createdAt, lastSeenAt }: CurrentSession, now: number): number {
  return age ?? Math.max(now, lastSeenAt) - createdAt
}

/**
 * The hook: 401 only if the session is known to be invalid. If its validity cannot be determined, 503, so that an outage
 * never looks like a logout. A session must belong to the user that its token names; another one is a fault of session-svc.
 */
export function requireSession(validate: Validate): onRequestAsyncHookHandler {
  return async function checkSession(request: CheckedRequest) {
    const { token, userId } = requireToken(request)
    const { raw } = request
    const validation = { token, trace: traceOf(raw), endsAt: budgetEnd(request), isAborted: () => raw.socket.destroyed }
    const outcome = await validate(validation).catch((error) => {
      throw undetermined(error)
    })
    switch (outcome.kind) {
      case 'valid':
        if (outcome.session.userId !== userId) throw undetermined()
        request[sessionSlot] = outcome.session
        return
      case 'invalid':
        throw notAuthenticated('The session has ended.', 'Bearer error="invalid_token"')
      case 'unknown':
        throw undetermined()
      default:
        outcome satisfies never
    }
  }
}

function undetermined(cause?: unknown): ConnectError {
  return unavailable('The validity of the session cannot be determined at the moment.', 1, cause)
}

function notAuthenticated(sentence: string, challenge: string): ConnectError {
  return new ConnectError(sentence, Code.Unauthenticated, { 'www-authenticate': challenge })
}
