/** The routes of accounts: `POST /reg`, `GET /account` and `DELETE /delete`. */

import { type Client, Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance, onRequestAsyncHookHandler } from 'fastify'
import type { UserService } from '#gen/user/v1/user_pb.ts'
import { clearDevice, type DescribeClient, deliverDevice } from '../plugins/device-token.ts'
import { ageOf, isByCookie, sessionOf } from '../plugins/session-check.ts'
import { clearEndedCookie, deliverSession } from '../plugins/session-cookie.ts'
import { callOptions, userAgentOf } from '../request-context.ts'
import { newSessionBody, userBody } from '../response-bodies.ts'
import { answers, empty, forbidden, needsSession, problems } from '../responses.ts'
import { deviceTokenHeader, ref } from '../schemas.ts'

interface AccountRoutes {
  users: Client<typeof UserService>
  checkSession: onRequestAsyncHookHandler
  describeClient: DescribeClient
  /** Milliseconds. */
  budgets: { reg: number; account: number; delete: number }
  /** In milliseconds: the maximum age of a session that deletes its account (OWASP ASVS 7.5.3). */
  reauthenticationWindow: number
}

/** The body of a registration or a login. */
export interface Credentials {
  email: string
  password: string
  cookie?: boolean
}

export function accountRoutes(app: FastifyInstance, options: AccountRoutes): void {
  const { users, checkSession, describeClient, budgets, reauthenticationWindow } = options

  app.post<{ Body: Credentials }>(
    '/reg',
    {
      config: { budgetMs: budgets.reg, rateLimitPolicy: 'registrations' },
      schema: {
        operationId: 'register',
        summary: 'Register',
        description:
          'Creates an account and logs it in. If the operator conceals taken addresses (`userSvc.registration.concealTaken`), the response is 202 for free and taken addresses alike, and an email to the address has the next step, within the limits of emails; a disabled account gets none.',
        tags: ['account'],
        headers: deviceTokenHeader,
        body: ref('Credentials'),
        response: {
          201: answers('LoggedIn', 'Registered and logged in.', 'Set-Cookie', 'X-Device-Token'),
          202: answers('RegistrationAccepted', 'Accepted without a session: the address was free or taken.'),
          ...problems(400, 409, 413, 415, 429, 503, 504),
          ...forbidden('cross-origin')
        }
      }
    },
    async (request, reply) => {
      const { email, password, cookie: asCookie = false } = request.body
      const account = { email, password, ...userAgentOf(request), ...describeClient(request) }
      const { user, acceptedWithoutSession, ...created } = await users.registerAndLogin(
        account,
        callOptions(request, reply)
      )
      if (acceptedWithoutSession) return reply.code(202).send({})
      const body = { user: userBody(user), session: newSessionBody(created) }
      const session = deliverSession(body.session, { reply, asCookie, replacesCookie: false })
      deliverDevice(created, { reply, asCookie })
      return reply.code(201).send({ ...body, session })
    }
  )

  app.get(
    '/account',
    {
      config: { budgetMs: budgets.account },
      onRequest: checkSession,
      schema: {
        operationId: 'getAccount',
        summary: 'Show the account',
        description: 'Returns the account of the session.',
        tags: ['account'],
        security: needsSession,
        response: { 200: answers('Account', 'The account.'), ...problems(400, 401, 429, 503, 504) }
      }
    },
    async (request, reply) => {
      const { user } = await users.getAccount({ userId: sessionOf(request).userId }, callOptions(request, reply))
      return reply.send({ user: userBody(user) })
    }
  )

  app.delete(
    '/delete',
    {
      config: { budgetMs: budgets.delete },
      onRequest: checkSession,
      onSend: clearEndedCookie(isByCookie),
      schema: {
        operationId: 'deleteAccount',
        summary: 'Delete the account',
        description:
          'Deletes the account of the session, its personal data and all its sessions, and clears the cookies. The session must be recent.',
        tags: ['account'],
        security: needsSession,
        response: {
          204: empty('Deleted.', 'Set-Cookie'),
          ...problems(400, 401, 429, 503, 504),
          ...forbidden('permission-denied', 'cross-origin')
        }
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
      clearDevice(request, reply)
      return reply.code(204).send()
    }
  )
}
