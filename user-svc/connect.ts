/** The handlers of `user.v1.UserService`: run a flow of accounts, log it, count it. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect'
import type { Logger } from '#common/logging/logger.ts'
import { callOf } from '#common/rpc/call-context.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import type { AccountParts, LoggedIn, ShownUser } from './accounts/account-parts.ts'
import { changePassword } from './accounts/change-password.ts'
import { deleteAccount } from './accounts/delete-account.ts'
import { endOtherSessions } from './accounts/end-other-sessions.ts'
import { getAccount } from './accounts/get-account.ts'
import { logIn } from './accounts/log-in.ts'
import { logOut } from './accounts/log-out.ts'
import { register } from './accounts/register.ts'
import { type AccountMetrics, countResult } from './metrics.ts'

export function userRoutes(router: ConnectRouter, parts: AccountParts, metrics: AccountMetrics, log: Logger): void {
  router.service(UserService, {
    async registerAndLogin(request, context) {
      const call = callOf(context, log)
      const loggedIn = await countResult(metrics.registrations, register(parts, request, call))
      const { user, session } = loggedIn
      call.log.info({ event: 'user_created', userId: user.id, sessionId: session.id }, 'created an account')
      return message(loggedIn)
    },

    async authenticateAndLogin(request, context) {
      const call = callOf(context, log)
      const loggedIn = await countResult(metrics.logins, logIn(parts, request, call))
      const { user, session } = loggedIn
      call.log.info({ event: 'authn_login_success', userId: user.id, sessionId: session.id }, 'logged in')
      return message(loggedIn)
    },

    async logout({ token }, context) {
      await logOut(parts, token, callOf(context, log))
      return {}
    },

    async deleteAccount({ userId }, context) {
      const call = callOf(context, log)
      await deleteAccount(parts, userId, call)
      call.log.info({ event: 'user_deleted', userId }, 'deleted an account')
      return {}
    },

    async getAccount({ userId }, context) {
      return { user: userMessage(await getAccount(parts, userId, callOf(context, log))) }
    },

    async changePassword(request, context) {
      const call = callOf(context, log)
      const { session, token } = await countResult(metrics.passwordChanges, changePassword(parts, request, call))
      const line = { event: 'authn_password_change', userId: request.userId, sessionId: session.id }
      call.log.info(line, 'changed a password')
      return { session, token }
    },

    requestPasswordReset: missing,
    resetPassword: missing,
    changeEmail: missing,
    requestEmailVerification: missing,
    verifyEmail: missing,
    async endOtherSessions(request, context) {
      const call = callOf(context, log)
      const endedSessions = await endOtherSessions(parts, request, call)
      const line = { event: 'sessions_ended', userId: request.userId, count: endedSessions }
      call.log.info(line, 'ended the other sessions of an account')
      return { endedSessions }
    }
  } satisfies ServiceImpl<typeof UserService>)
}

function missing(): never {
  throw new ConnectError('This method does not exist yet.', Code.Unimplemented)
}

function message({ user, session, token }: LoggedIn) {
  return { user: userMessage(user), session, token }
}

function userMessage({ id, email, createdAt, emailVerifiedAt }: ShownUser) {
  return { id, email, createdAt: timestampFromDate(createdAt), emailVerified: emailVerifiedAt !== null }
}
