/** The handlers of `user.v1.UserService`: run a flow of accounts, log it, count it. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError, type ConnectRouter, type ServiceImpl } from '@connectrpc/connect'
import type { Logger } from '#common/logging/logger.ts'
import { callOf } from '#common/rpc/call-context.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import type { AccountParts, LoggedIn } from './accounts/account-parts.ts'
import { deleteAccount } from './accounts/delete-account.ts'
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

    getAccount: missing,
    changePassword: missing,
    requestPasswordReset: missing,
    resetPassword: missing,
    changeEmail: missing,
    requestEmailVerification: missing,
    verifyEmail: missing,
    endOtherSessions: missing
  } satisfies ServiceImpl<typeof UserService>)
}

function missing(): never {
  throw new ConnectError('This method does not exist yet.', Code.Unimplemented)
}

function message({ user, session, token }: LoggedIn) {
  return { user: { id: user.id, email: user.email, createdAt: timestampFromDate(user.createdAt) }, session, token }
}
