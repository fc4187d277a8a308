/** The routes of the session of a request: `POST /auth`, `GET /session` and `DELETE /logout`. */

import type { Client } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { type DescribeClient, deliverDevice } from '../plugins/device-token.ts'
import { credentialOf, isByCookie, requireCredential, sessionOf } from '../plugins/session-check.ts'
import { clearEndedCookie, deliverSession } from '../plugins/session-cookie.ts'
import { callOptions, userAgentOf } from '../request-context.ts'
import { newSessionBody, userBody } from '../response-bodies.ts'
import { answers, empty, forbidden, needsSession, problems, takesSession } from '../responses.ts'
import { deviceTokenHeader, ref } from '../schemas.ts'
import type { Credentials } from './accounts.ts'

interface SessionRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  describeClient: DescribeClient
  /** Milliseconds. */
  budgets: { auth: number; session: number; logout: number }
}

export function sessionRoutes(app: FastifyInstance, options: SessionRoutes): void {
  const { users, checkSession, describeClient, budgets } = options
  app.post<{ Body: Credentials }>(
    '/auth',
    {
      config: { budgetMs: budgets.auth, rateLimitPolicy: 'credentials', countsFailures: true, admitsDevices: true },
      schema: {
        operationId: 'logIn',
        summary: 'Log in',
        description:
          'Checks an address and a password and creates a session. If the request carries a session token, that session ends.',
        tags: ['session'],
        security: takesSession,
        headers: deviceTokenHeader,
        body: ref('Credentials'),
        response: {
          200: answers('LoggedIn', 'Logged in.', 'Set-Cookie', 'X-Device-Token'),
          ...problems(400, 401, 413, 415, 429, 503, 504),
          ...forbidden('account-disabled', 'email-not-verified', 'cross-origin')
        }
      }
    },
    async (request, reply) => {
      const { email, password, cookie: asCookie = false } = request.body
      const replacesToken = credentialOf(request)?.token
      const replaced = replacesToken === undefined ? {} : { replacesToken }
      const login = { email, password, ...replaced, ...userAgentOf(request), ...describeClient(request) }
      const { user, ...created } = await users.authenticateAndLogin(login, callOptions(request, reply))
      const body = { user: userBody(user), session: newSessionBody(created) }
      const session = deliverSession(body.session, { reply, asCookie, replacesCookie: isByCookie(request) })
      deliverDevice(created, { reply, asCookie })
      return reply.send({ ...body, session })
    }
  )

  app.get(
    '/session',
    {
      config: { budgetMs: budgets.session, rateLimitPolicy: 'session' },
      onRequest: checkSession,
      schema: {
        operationId: 'getSession',
        summary: 'Validate a session',
        description:
          'Validates the token. The headers `X-User-Id` and `X-Session-Id` repeat the ids, for nginx `auth_request`. 401 only when the session is known to be invalid.',
        tags: ['session'],
        security: needsSession,
        response: {
          200: answers('CurrentSession', 'The session is valid.', 'X-User-Id', 'X-Session-Id'),
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
      onSend: clearEndedCookie(isByCookie),
      schema: {
        operationId: 'logOut',
        summary: 'Log out',
        description:
          'Ends the session of the token, and clears the cookie; also succeeds when the session has already ended.',
        tags: ['session'],
        security: needsSession,
        response: {
          204: empty('Ended.', 'Set-Cookie'),
          ...problems(400, 401, 429, 503, 504),
          ...forbidden('cross-origin')
        }
      }
    },
    async (request, reply) => {
      await users.logout({ token: requireCredential(request).token }, callOptions(request, reply))
      return reply.code(204).send()
    }
  )
}
