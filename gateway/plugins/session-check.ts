/** Authenticates a request by its session token, for the routes that need a session. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { unavailable } from '#common/errors/connect-errors.ts'
import { tokenUserId } from '#common/session/session-token.ts'
import { budgetEnd, traceOf } from '../request-context.ts'
import type { Validate } from '../session-validation/batcher.ts'
import type { CurrentSession } from '../session-validation/outcome.ts'
import { cookieName, sessionCookieValues } from './session-cookie.ts'

const sessionSlot = Symbol('session')
type CheckedRequest = FastifyRequest & { [sessionSlot]?: CurrentSession }

/** A well-formed session token, and the account that it names. */
interface Credential {
  token: string
  userId: string
}

const bearer = /^Bearer(?: +|$)/i

/**
 * Whether the cookie is the credential of a request. A bearer token wins, also a malformed one: its client means that
 * session. Another scheme, such as the Basic credential for a proxy, is no session.
 */
export function isByCookie(request: Pick<FastifyRequest, 'headers'>): boolean {
  return !bearer.test(request.headers.authorization ?? '') && sessionCookieValues(request).length > 0
}

/** The session token of a request, if it is well-formed: of `Authorization: Bearer`, or else of the cookie. */
export function credentialOf(request: FastifyRequest): Credential | undefined {
  const { authorization } = request.headers
  if (authorization !== undefined) {
    const token = /^Bearer +(\S+) *$/i.exec(authorization)?.[1]
    if (token !== undefined || bearer.test(authorization)) return credential(token)
  }
  const [value, second] = sessionCookieValues(request)
  return second === undefined ? credential(value) : undefined
}

function credential(token: string | undefined): Credential | undefined {
  const userId = token && tokenUserId(token)
  return userId ? { token, userId } : undefined
}

/** The token of a request that must carry one. @throws ConnectError `unauthenticated` */
export function requireCredential(request: FastifyRequest): Credential {
  const found = credentialOf(request)
  if (found !== undefined) return found
  if (isByCookie(request)) {
    const sentence =
      sessionCookieValues(request).length > 1
        ? `The request has two different cookies \`${cookieName}\`.`
        : `The cookie \`${cookieName}\` is not a session token.`
    throw notAuthenticated(sentence, 'Bearer error="invalid_token"')
  }
  // RFC 6750, 3.1: the challenge to a request without any credential has no error code.
  throw request.headers.authorization === undefined
    ? notAuthenticated(`This route needs \`Authorization: Bearer <token>\` or the cookie \`${cookieName}\`.`, 'Bearer')
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
    const { token, userId } = requireCredential(request)
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
        throw sessionEnded()
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

const sessionEnded = () => notAuthenticated('The session has ended.', 'Bearer error="invalid_token"')

function notAuthenticated(sentence: string, challenge: string): ConnectError {
  return new ConnectError(sentence, Code.Unauthenticated, { 'www-authenticate': challenge })
}
