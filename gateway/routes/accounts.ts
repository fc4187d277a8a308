/** The routes of accounts: `POST /reg` and `DELETE /delete`. */

import { type Client, Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { loggedInBody } from '../login-response.ts'
import { ageOf, sessionOf } from '../plugins/session-check.ts'
import { callOptions } from '../request-context.ts'
import { credentials, loggedIn, problems } from '../schemas.ts'

interface AccountRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  /** Milliseconds. */
  budgets: { reg: number; delete: number }
  /** In milliseconds: the maximum age of a session that deletes its account (OWASP ASVS 7.5.3). */
  reauthenticationWindow: number
}

export function accountRoutes(app: FastifyInstance, options: AccountRoutes): void {
  const { users, checkSession, budgets, reauthenticationWindow } = options

  app.post<{ Body: { email: string; password: string } }>(
    '/reg',
    {
      config: { budgetMs: budgets.reg, rateLimitPolicy: 'credentials' },
      schema: {
        summary: 'Register',
        description: 'Creates an account and logs it in.',
        tags: ['account'],
        body: credentials,
        response: {
          201: { ...loggedIn, description: 'Registered and logged in.' },
          ...problems(400, 409, 413, 415, 429, 503, 504)
        }
      }
    },
    async (request, reply) => {
      const answer = await users.registerAndLogin(request.body, callOptions(request, reply))
      return reply.code(201).send(loggedInBody(answer))
    }
  )

  app.delete(
    '/delete',
    {
      config: { budgetMs: budgets.delete },
      onRequest: checkSession,
      schema: {
        summary: 'Delete the account',
        description:
          'Deletes the account of the session, its personal data and all its sessions. The session must be recent.',
        tags: ['account'],
        security: [{ session: [] }],
        response: { 204: { type: 'null', description: 'Deleted.' }, ...problems(400, 401, 403, 429, 503, 504) }
      }
    },
    async (request, reply) => {
      const session = sessionOf(request)
      if (ageOf(session, Date.now()) > reauthenticationWindow) {
        throw new ConnectError(
          'This session is too old to delete the account. Log in again first.',
          Code.PermissionDenied
        )
      }
      await users.deleteAccount({ userId: session.userId }, callOptions(request, reply))
      return reply.code(204).send()
    }
  )
}
