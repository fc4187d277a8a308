/** The handlers of `user.v1.UserService`: call the domain, log what happened, count it. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import type { Logger } from '#common/logging/logger.ts'
import { callOf } from '#common/rpc/call-context.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import type { Accounts, LoggedIn } from './accounts.ts'
import { type AccountMetrics, countResult } from './metrics.ts'

export function userRoutes(router: ConnectRouter, accounts: Accounts, metrics: AccountMetrics, log: Logger): void {
  function answer({ user, session, token }: LoggedIn) {
    return { user: { id: user.id, email: user.email, createdAt: timestampFromDate(user.createdAt) }, session, token }
  }

  router.service(UserService, {
    async registerAndLogin(request, context) {
      const call = callOf(context, log)
      const loggedIn = await countResult(metrics.registrations, accounts.register(request, call))
      const { user, session } = loggedIn
      call.log.info({ event: 'user_created', userId: user.id, sessionId: session.id }, 'created an account')
      return answer(loggedIn)
    },

    async authenticateAndLogin(request, context) {
      const call = callOf(context, log)
      const loggedIn = await countResult(metrics.logins, accounts.authenticate(request, call))
      const { user, session } = loggedIn
      call.log.info({ event: 'authn_login_success', userId: user.id, sessionId: session.id }, 'logged in')
      return answer(loggedIn)
    },

    async logout({ token }, context) {
      await accounts.logout(token, callOf(context, log))
      return {}
    },

    async deleteAccount({ userId }, context) {
      const call = callOf(context, log)
      await accounts.deleteAccount(userId, call)
      call.log.info({ event: 'user_deleted', userId }, 'deleted an account')
      return {}
    }
  } satisfies ServiceImpl<typeof UserService>)
}
