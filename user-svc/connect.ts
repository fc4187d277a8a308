/** The handlers of `user.v1.UserService`: run a flow of accounts, log it, count it. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, ServiceImpl } from '@connectrpc/connect'
import type { Logger } from '#common/logging/logger.ts'
import { type Call, callOf } from '#common/rpc/call-context.ts'
import { type RegisterAndLoginRequest, UserService } from '#gen/user/v1/user_pb.ts'
import type { AccountParts, DeviceSession, LoggedIn, ShownUser } from './accounts/account-parts.ts'
import { changeEmail } from './accounts/change-email.ts'
import { changePassword } from './accounts/change-password.ts'
import { deleteAccount } from './accounts/delete-account.ts'
import type { EmailRequestResult } from './accounts/email-request-result.ts'
import { endOtherSessions } from './accounts/end-other-sessions.ts'
import { getAccount } from './accounts/get-account.ts'
import { logIn } from './accounts/log-in.ts'
import { logOut } from './accounts/log-out.ts'
import { register } from './accounts/register.ts'
import { registerConcealed } from './accounts/register-concealed.ts'
import { requestEmailVerification } from './accounts/request-email-verification.ts'
import { requestPasswordReset } from './accounts/request-password-reset.ts'
import { resetPassword } from './accounts/reset-password.ts'
import { verifyEmail } from './accounts/verify-email.ts'
import type { EmailPurpose } from './mail/email-purposes.ts'
import { type AccountMetrics, countResult } from './metrics.ts'

export function userRoutes(router: ConnectRouter, parts: AccountParts, metrics: AccountMetrics, log: Logger): void {
  function recordEmailRequest(purpose: EmailPurpose, { outcome, userId }: EmailRequestResult, call: Call): void {
    metrics.emailRequests.inc({ purpose, outcome })
    const line = { event: 'email_requested', reason: `${purpose} ${outcome}`, ...(userId && { userId }) }
    call.log.info(line, 'received a request for an email')
  }

  async function acceptRegistration(request: RegisterAndLoginRequest, call: Call) {
    const registration = registerConcealed(parts, request, call)
    const accepted = await countResult(metrics.registrations, registration, (result) => 'notice' in result)
    if ('notice' in accepted) recordEmailRequest('registration-notice', accepted.notice, call)
    else call.log.info({ event: 'user_created', userId: accepted.createdId }, 'created an account')
    return { acceptedWithoutSession: true }
  }

  router.service(UserService, {
    async registerAndLogin(request, context) {
      const call = callOf(context, log)
      if (parts.concealTaken) return acceptRegistration(request, call)
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
      const changed = await countResult(metrics.passwordChanges, changePassword(parts, request, call))
      const { session } = changed
      const line = { event: 'authn_password_change', userId: request.userId, sessionId: session.id }
      call.log.info(line, 'changed a password')
      return sessionMessage(changed)
    },

    async requestPasswordReset(request, context) {
      const call = callOf(context, log)
      recordEmailRequest('reset', await requestPasswordReset(parts, request, call), call)
      return {}
    },

    async resetPassword(request, context) {
      const call = callOf(context, log)
      const userId = await countResult(metrics.passwordResets, resetPassword(parts, request, call))
      call.log.info({ event: 'authn_password_change', userId, reason: 'reset' }, 'reset a password')
      return { userId }
    },

    async changeEmail(request, context) {
      const call = callOf(context, log)
      recordEmailRequest('change', await changeEmail(parts, request, call), call)
      return {}
    },

    async requestEmailVerification({ userId }, context) {
      const call = callOf(context, log)
      recordEmailRequest('verify', await requestEmailVerification(parts, userId, call), call)
      return {}
    },

    async verifyEmail({ token }, context) {
      const call = callOf(context, log)
      const verified = await countResult(metrics.emailVerifications, verifyEmail(parts, token, call))
      const { userId, emailChanged } = verified
      const reason = emailChanged ? 'email_changed' : 'email_verified'
      call.log.info({ event: 'user_updated', userId, reason }, 'verified an address')
      return verified
    },

    async endOtherSessions(request, context) {
      const call = callOf(context, log)
      const ended = await endOtherSessions(parts, request, call)
      const line = { event: 'sessions_ended', userId: request.userId, count: ended.endedSessions }
      call.log.info(line, 'ended the other sessions of an account')
      return ended
    }
  } satisfies ServiceImpl<typeof UserService>)
}

function message({ user, ...opened }: LoggedIn) {
  return { user: userMessage(user), ...sessionMessage(opened) }
}

function sessionMessage({ session, token, deviceToken }: DeviceSession) {
  return { session, token, ...(deviceToken !== undefined && { deviceToken }) }
}

function userMessage({ id, email, createdAt, emailVerifiedAt }: ShownUser) {
  return { id, email, createdAt: timestampFromDate(createdAt), emailVerified: emailVerifiedAt !== null }
}
