/** The routes of sessions: `POST /auth`, `GET /session` and `DELETE /logout`. */

import type { Client } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { loggedInBody } from '../login-response.ts'
import { bearerToken, requireToken, sessionOf } from '../plugins/session-check.ts'
import { callOptions } from '../request-context.ts'
import { credentials, currentSession, loggedIn, problems } from '../schemas.ts'

interface SessionRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  /** Milliseconds. */
  budgets: { auth: number; session: number; logout: number }
}

export function sessionRoutes(app: FastifyInstance, { users, checkSession, budgets }: SessionRoutes): void {
  app.post<{ Body: { email: string; password: string } }>(
    '/auth',
    {
      config: { budgetMs: budgets.auth, rateLimitPolicy: 'credentials' },
      schema: {
        summary: 'Log in',
        description:
          'Checks an address and a password and creates a session. If the request carries a session token, that session ends.',
        tags: ['session'],
        security: [{}, { session: [] }],
        body: credentials,
        response: { 200: { ...loggedIn, description: 'Logged in.' }, ...problems(400, 401, 413, 415, 429, 503, 504) }
      }
    },
    async (request, reply) => {
      const replacesToken = bearerToken(request)?.token
      const answer = await users.authenticateAndLogin(
        { ...request.body, ...(replacesToken !== undefined && { replacesToken }) },
        callOptions(request, reply)
      )
      return reply.send(loggedInBody(answer))
    }
  )

  app.get(
    '/session',
    {
      config: { budgetMs: budgets.session, rateLimitPolicy: 'session' },
      onRequest: checkSession,
      schema: {
        summary: 'Validate a session',
        description:
          'Validates the token in `Authorization`. The headers `X-User-Id` and `X-Session-Id` repeat the ids, for nginx `auth_request`. 401 only when the session is known to be invalid.',
        tags: ['session'],
        security: [{ session: [] }],
        response: {
          200: { ...currentSession, description: 'The session is valid.' },
          ...problems(400, 401, 429, 503)
        }
      }
    },
    async (request, reply) => {
      const session = sessionOf(request)
      return reply.headers({ 'x-user-id': session.userId, 'x-session-id': session.id }).send({
        user: { id: session.userId },
        session: {
          id: session.id,
          createdAt: new Date(session.createdAt).toISOString(),
          lastSeenAt: new Date(session.lastSeenAt).toISOString(),
          expiresAt: new Date(session.expiresAt).toISOString()
        }
      })
    }
  )

  app.delete(
    '/logout',
    {
      config: { budgetMs: budgets.logout },
      schema: {
        summary: 'Log out',
        description: 'Ends the session of the token; also succeeds when it has already ended.',
        tags: ['session'],
        security: [{ session: [] }],
        response: { 204: { type: 'null', description: 'Ended.' }, ...problems(400, 401, 429, 503, 504) }
      }
    },
    async (request, reply) => {
      await users.logout({ token: requireToken(request).token }, callOptions(request, reply))
      return reply.code(204).send()
    }
  )
}
