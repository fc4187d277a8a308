/** The routes of passwords: `PUT /password`, `POST /password/reset` and `PUT /password/reset`. */

import type { Client } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { type DescribeClient, deliverDevice } from '../plugins/device-token.ts'
import { isByCookie, sessionOf } from '../plugins/session-check.ts'
import { deliverSession } from '../plugins/session-cookie.ts'
import { callOptions, userAgentOf } from '../request-context.ts'
import { newSessionBody } from '../response-bodies.ts'
import { answers, empty, forbidden, needsSession, problems } from '../responses.ts'
import { deviceTokenHeader, ref } from '../schemas.ts'

interface PasswordRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  describeClient: DescribeClient
  /** Milliseconds. */
  budgets: { account: number; password: number }
}

export function passwordRoutes(app: FastifyInstance, options: PasswordRoutes): void {
  const { users, checkSession, describeClient, budgets } = options
  app.put<{ Body: { currentPassword: string; newPassword: string; cookie?: boolean } }>(
    '/password',
    {
      config: { budgetMs: budgets.password, rateLimitPolicy: 'credentials', countsFailures: true, admitsDevices: true },
      onRequest: checkSession,
      schema: {
        operationId: 'changePassword',
        summary: 'Change the password',
        description:
          'Changes the password, ends every session of the account and creates a new one. If the cookie is the credential, the new session is a cookie too, unless `cookie` is false.',
        tags: ['password'],
        security: needsSession,
        headers: deviceTokenHeader,
        body: ref('PasswordChange'),
        response: {
          200: answers('PasswordChanged', 'Changed.', 'Set-Cookie', 'X-Device-Token'),
          ...problems(400, 401, 413, 415, 429, 503, 504),
          ...forbidden('wrong-password', 'account-disabled', 'cross-origin')
        }
      }
    },
    async (request, reply) => {
      const replacesCookie = isByCookie(request)
      const { currentPassword, newPassword, cookie: asCookie = replacesCookie } = request.body
      const { userId } = sessionOf(request)
      const change = { userId, currentPassword, newPassword, ...userAgentOf(request), ...describeClient(request) }
      const created = await users.changePassword(change, callOptions(request, reply))
      const session = deliverSession(newSessionBody(created), { reply, asCookie, replacesCookie })
      deliverDevice(created, { reply, asCookie })
      return reply.send({ session })
    }
  )

  app.post<{ Body: { email: string } }>(
    '/password/reset',
    {
      config: { budgetMs: budgets.account, rateLimitPolicy: 'emails' },
      schema: {
        operationId: 'requestPasswordReset',
        summary: 'Request a password reset',
        description:
          'Sends an email with a token, if the address has an account and its limits allow an email. The response does not show whether it has one.',
        tags: ['password'],
        body: ref('PasswordResetRequest'),
        response: { 202: empty('Accepted.'), ...problems(400, 413, 415, 429, 501, 503, 504) }
      }
    },
    async (request, reply) => {
      await users.requestPasswordReset({ email: request.body.email }, callOptions(request, reply))
      return reply.code(202).send()
    }
  )

  app.put<{ Body: { token: string; newPassword: string } }>(
    '/password/reset',
    {
      config: { budgetMs: budgets.password, rateLimitPolicy: 'credentials' },
      schema: {
        operationId: 'resetPassword',
        summary: 'Reset the password',
        description:
          'Sets a new password by the token of an email, ends every session of the account and verifies its address. Creates no session.',
        tags: ['password'],
        headers: deviceTokenHeader,
        body: ref('PasswordReset'),
        response: {
          204: empty('Changed.'),
          ...problems(400, 413, 415, 429, 503, 504),
          ...forbidden('invalid-token', 'account-disabled')
        }
      }
    },
    async (request, reply) => {
      const { token, newPassword } = request.body
      await users.resetPassword({ token, newPassword, ...describeClient(request) }, callOptions(request, reply))
      return reply.code(204).send()
    }
  )
}
