/** Finds out whose session a request carries, for the routes that need one. */

import { timestampDate } from '@bufbuild/protobuf/wkt'
import { type Client, Code, ConnectError } from '@connectrpc/connect'
import type { FastifyReply, FastifyRequest, onRequestAsyncHookHandler } from 'fastify'
import { unavailable } from '#common/errors.ts'
import { parseToken } from '#common/token.ts'
import type { Session, SessionService } from '#gen/session/v1/session_pb.ts'
import { callOptions } from '../request-context.ts'

const sessions = new WeakMap<FastifyRequest, Session>()

/** The well-formed session token in `Authorization: Bearer`, if there is one; it is taken from nowhere else. */
export function bearerToken(request: FastifyRequest): string | undefined {
  const token = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  return token !== undefined && parseToken(token) !== undefined ? token : undefined
}

/** The token of a request that must carry one. @throws ConnectError `unauthenticated` */
export function requireToken(request: FastifyRequest): string {
  const token = bearerToken(request)
  if (token !== undefined) return token
  // RFC 6750, 3.1: a request without any credential is not told an error code.
  throw request.headers.authorization === undefined
    ? notAuthenticated('This needs `Authorization: Bearer <token>`.', 'Bearer')
    : notAuthenticated('The credential in `Authorization` is not a session token.', 'Bearer error="invalid_token"')
}

/** The session that the check found. */
export function sessionOf(request: FastifyRequest): Session {
  const session = sessions.get(request)
  if (session === undefined) throw new TypeError('the route has no session check')
  return session
}

/**
 * The hook: 401 only when the session is known not to be valid; whatever keeps that from
 * being known is 503, so that an outage never looks like a log-out.
 */
export function requireSession(client: Client<typeof SessionService>): onRequestAsyncHookHandler {
  return async (request: FastifyRequest, reply: FastifyReply) => {
    const token = requireToken(request)
    const { result } = await client.validateSession({ token }, callOptions(request, reply)).catch((error) => {
      throw unavailable('It cannot be known at the moment whether the session is valid.', 1, error)
    })
    if (result.case === 'session' && isWhole(result.value, token)) sessions.set(request, result.value)
    else if (result.case === 'invalid') throw notAuthenticated('The session has ended.', 'Bearer error="invalid_token"')
    else throw unavailable('It cannot be known at the moment whether the session is valid.')
  }
}

/** Whether a reply says everything, and of the user that the token names: half an answer authorises nobody. */
function isWhole({ id, userId, createdAt, lastSeenAt, expiresAt }: Session, token: string): boolean {
  const times = [createdAt, lastSeenAt, expiresAt]
  const areTimes = times.every((time) => time !== undefined && !Number.isNaN(timestampDate(time).getTime()))
  return id !== '' && userId === parseToken(token)?.userId && areTimes
}

function notAuthenticated(sentence: string, challenge: string): ConnectError {
  return new ConnectError(sentence, Code.Unauthenticated, { 'www-authenticate': challenge })
}
