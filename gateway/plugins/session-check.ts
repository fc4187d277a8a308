/** Finds out whose session a request carries, for the routes that need one. */

import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { unavailable } from '#common/errors.ts'
import { tokenUserId } from '#common/token.ts'
import type { Session } from '#gen/session/v1/session_pb.ts'
import { budgetEnd, traceOf } from '../request-context.ts'
import type { Validate } from '../validations.ts'

const sessionSlot = Symbol('session')
type CheckedRequest = FastifyRequest & { [sessionSlot]?: Session }

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
export function sessionOf(request: CheckedRequest): Session {
  const session = request[sessionSlot]
  if (session === undefined) throw new TypeError('the route has no session check')
  return session
}

/**
 * The hook: 401 only when the session is known not to be valid; whatever keeps that from
 * being known is 503, so that an outage never looks like a log-out.
 */
export function requireSession(validate: Validate): onRequestAsyncHookHandler {
  return async (request: CheckedRequest) => {
    const { token, userId } = requireToken(request)
    const { raw } = request
    const question = { token, trace: traceOf(raw), endsAt: budgetEnd(request), isGone: () => raw.socket.destroyed }
    const result = await validate(question).catch((error) => {
      throw unavailable('It cannot be known at the moment whether the session is valid.', 1, error)
    })
    if (result.case === 'session' && isWhole(result.value, userId)) request[sessionSlot] = result.value
    else if (result.case === 'invalid') throw notAuthenticated('The session has ended.', 'Bearer error="invalid_token"')
    else throw unavailable('It cannot be known at the moment whether the session is valid.')
  }
}

/** Whether a reply says everything, and of the user that the token names: half an answer authorises nobody. */
function isWhole({ id, userId, createdAt, lastSeenAt, expiresAt }: Session, namedUserId: string): boolean {
  return id !== '' && userId === namedUserId && isTime(createdAt) && isTime(lastSeenAt) && isTime(expiresAt)
}

// What a Date can hold (ECMA-262, 21.4.1.1).
const maxTimeMs = 8.64e15

function isTime(timestamp: Timestamp | undefined): boolean {
  return timestamp !== undefined && Math.abs(timestampMs(timestamp)) <= maxTimeMs
}

function notAuthenticated(sentence: string, challenge: string): ConnectError {
  return new ConnectError(sentence, Code.Unauthenticated, { 'www-authenticate': challenge })
}
