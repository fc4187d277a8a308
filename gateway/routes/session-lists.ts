/** The routes of all sessions of an account: `GET /sessions`, `DELETE /sessions` and `DELETE /sessions/{id}`. */

import type { Client } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { type DescribeClient, deliverDevice } from '../plugins/device-token.ts'
import { isByCookie, sessionOf } from '../plugins/session-check.ts'
import { clearSessionCookie } from '../plugins/session-cookie.ts'
import { callOptions } from '../request-context.ts'
import { listedSessionBody } from '../response-bodies.ts'
import { answers, empty, forbidden, needsSession, problems } from '../responses.ts'
import { deviceTokenHeader, sessionId } from '../schemas.ts'

interface SessionListRoutes {
  users: Client<typeof UserService>
  sessions: Client<typeof SessionService>
  checkSession: onRequestAsyncHookHandler
  describeClient: DescribeClient
  /** Milliseconds. */
  budgets: { account: number }
}

export function sessionListRoutes(app: FastifyInstance, options: SessionListRoutes): void {
  const { users, sessions, checkSession, describeClient, budgets } = options
  const route = { config: { budgetMs: budgets.account }, onRequest: checkSession }

  app.get(
    '/sessions',
    {
      ...route,
      schema: {
        operationId: 'listSessions',
        summary: 'List the sessions',
        description: 'Returns the valid sessions of the account, the newest first.',
        tags: ['session'],
        security: needsSession,
        response: { 200: answers('Sessions', 'The sessions.'), ...problems(400, 401, 429, 503, 504) }
      }
    },
    async (request, reply) => {
      const { userId, id: currentSessionId } = sessionOf(request)
      const list = await sessions.listSessions({ userId, currentSessionId }, callOptions(request, reply))
      return reply.send({ sessions: list.sessions.map(listedSessionBody) })
    }
  )

  app.delete(
    '/sessions',
    {
      ...route,
      schema: {
        operationId: 'endOtherSessions',
        summary: 'End all other sessions',
        description:
          'Ends every session of the account but that of the request. All device tokens of the account become invalid; a valid one of the request is replaced.',
        tags: ['session'],
        security: needsSession,
        headers: deviceTokenHeader,
        response: {
          204: empty('Ended.', 'Set-Cookie', 'X-Device-Token'),
          ...problems(400, 401, 429, 503, 504),
          ...forbidden('cross-origin')
        }
      }
    },
    async (request, reply) => {
      const { userId, id: keptSessionId } = sessionOf(request)
      const others = { userId, keptSessionId, ...describeClient(request) }
      const ended = await users.endOtherSessions(others, callOptions(request, reply))
      deliverDevice(ended, { reply, asCookie: isByCookie(request) })
      return reply.code(204).send()
    }
  )

  app.delete<{ Params: { id: string } }>(
    '/sessions/:id',
    {
      ...route,
      schema: {
        operationId: 'endSession',
        summary: 'End a session',
        description:
          'Ends a session of the account; also succeeds when it has already ended. Clears the cookie if the session is that of the request.',
        tags: ['session'],
        security: needsSession,
        params: {
          type: 'object',
          required: ['id'],
          properties: { id: { ...sessionId, pattern: '^[A-Za-z0-9_-]{22}$' } }
        },
        response: {
          204: empty('Ended.', 'Set-Cookie'),
          ...problems(400, 401, 429, 503, 504),
          ...forbidden('cross-origin')
        }
      }
    },
    async (request, reply) => {
      const { userId, id } = sessionOf(request)
      const reference = { userId, sessionId: request.params.id }
      await sessions.deleteSession({ target: { case: 'reference', value: reference } }, callOptions(request, reply))
      if (reference.sessionId === id && isByCookie(request)) clearSessionCookie(reply)
      return reply.code(204).send()
    }
  )
}
