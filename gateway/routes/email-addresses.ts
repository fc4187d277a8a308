/** The routes of email addresses: `PUT /email`, `POST /email/verification` and `PUT /email/verification`. */

import type { Client } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import type { DescribeClient } from '../plugins/device-token.ts'
import { sessionOf } from '../plugins/session-check.ts'
import { callOptions } from '../request-context.ts'
import { empty, forbidden, needsSession, problems } from '../responses.ts'
import { deviceTokenHeader, ref } from '../schemas.ts'

interface EmailRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  describeClient: DescribeClient
  /** Milliseconds. */
  budgets: { account: number; password: number }
}

export function emailRoutes(app: FastifyInstance, options: EmailRoutes): void {
  const { users, checkSession, describeClient, budgets } = options
  app.put<{ Body: { email: string; password: string } }>(
    '/email',
    {
      config: { budgetMs: budgets.password, rateLimitPolicy: 'credentials', admitsDevices: true },
      onRequest: checkSession,
      schema: {
        operationId: 'changeEmail',
        summary: 'Change the email address',
        description:
          'Sends an email with a token to the new address, and a notice to the old one. The address changes when the token comes back.',
        tags: ['email'],
        security: needsSession,
        headers: deviceTokenHeader,
        body: ref('EmailChange'),
        response: {
          202: empty('Accepted.'),
          ...problems(400, 401, 413, 415, 429, 501, 503, 504),
          ...forbidden('wrong-password', 'account-disabled', 'cross-origin')
        }
      }
    },
    async (request, reply) => {
      const { email, password } = request.body
      const change = { userId: sessionOf(request).userId, email, password, ...describeClient(request) }
      await users.changeEmail(change, callOptions(request, reply))
      return reply.code(202).send()
    }
  )

  app.post(
    '/email/verification',
    {
      config: { budgetMs: budgets.account, rateLimitPolicy: 'emails' },
      onRequest: checkSession,
      schema: {
        operationId: 'requestEmailVerification',
        summary: 'Request an email that verifies the address',
        description: 'Sends the email again, within its limits. A verified address gets none.',
        tags: ['email'],
        security: needsSession,
        response: {
          202: empty('Accepted.'),
          ...problems(400, 401, 429, 501, 503, 504),
          ...forbidden('cross-origin')
        }
      }
    },
    async (request, reply) => {
      await users.requestEmailVerification({ userId: sessionOf(request).userId }, callOptions(request, reply))
      return reply.code(202).send()
    }
  )

  app.put<{ Body: { token: string } }>(
    '/email/verification',
    {
      config: { budgetMs: budgets.account },
      schema: {
        operationId: 'verifyEmail',
        summary: 'Verify or change the email address',
        description: 'Verifies an address, or changes it, by the token of an email. Creates no session.',
        tags: ['email'],
        body: ref('EmailVerification'),
        response: {
          204: empty('Verified or changed.'),
          ...problems(400, 409, 413, 415, 429, 503, 504),
          ...forbidden('invalid-token')
        }
      }
    },
    async (request, reply) => {
      await users.verifyEmail({ token: request.body.token }, callOptions(request, reply))
      return reply.code(204).send()
    }
  )
}
