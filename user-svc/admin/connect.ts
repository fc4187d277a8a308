/** The handlers of `admin.v1.AdminService`. The server logs each call with its caller; the handlers add the account. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { ConnectRouter, HandlerContext, ServiceImpl } from '@connectrpc/connect'
import { uuidRule } from '#common/errors/field-rules.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Call, callOf, lineKey } from '#common/rpc/call-context.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { accountDisabled } from '../accounts/account-errors.ts'
import type { AccountParts, User } from '../accounts/account-parts.ts'
import { deleteAccount } from '../accounts/delete-account.ts'
import { requireMail } from '../accounts/email-request-result.ts'
import { requestPasswordReset } from '../accounts/request-password-reset.ts'
import type { AccountMetrics } from '../metrics.ts'
import { passwordScheme } from '../passwords/stored-hash.ts'
import { disableUser, enableUser, endAllSessions } from './account-state.ts'
import { createUser } from './create-user.ts'
import { findUsers, getUser } from './find-users.ts'
import { type ImportParts, type ImportResult, importUsers } from './import-users.ts'

type AdminParts = AccountParts & ImportParts

export function adminRoutes(router: ConnectRouter, parts: AdminParts, metrics: AccountMetrics, log: Logger): void {
  router.service(AdminService, {
    async getUser({ key }, context) {
      const user = await getUser(parts, key, callOf(context, log))
      recordAccount(context, user.id)
      return { user: adminUser(user) }
    },

    async findUsers(request, context) {
      const { users, nextPageToken } = await findUsers(parts, request, callOf(context, log))
      context.values.set(lineKey, { count: users.length })
      return { users: users.map(adminUser), nextPageToken }
    },

    async createUser(request, context) {
      const user = await createUser(parts, request, callOf(context, log))
      recordAccount(context, user.id)
      return { user: adminUser(user) }
    },

    async importUsers(requests, context) {
      const result: ImportResult = { imported: 0, rejected: 0, rejections: [] }
      // The count at the end of the call, which may be before that of the handler.
      const line = Object.defineProperty({}, 'count', { get: () => result.imported, enumerable: true })
      context.values.set(lineKey, line)
      return importUsers(parts, requests, callOf(context, log), result)
    },

    async disableUser({ userId }, context) {
      return { user: adminUser(await ofAccount(context, userId, (call) => disableUser(parts, userId, call))) }
    },

    async enableUser({ userId }, context) {
      return { user: adminUser(await ofAccount(context, userId, (call) => enableUser(parts, userId, call))) }
    },

    async endSessions({ userId }, context) {
      return { endedSessions: await ofAccount(context, userId, (call) => endAllSessions(parts, userId, call)) }
    },

    async deleteUser({ userId }, context) {
      await ofAccount(context, userId, (call) => deleteAccount(parts, userId, call))
      return {}
    },

    async requestPasswordReset({ userId }, context) {
      requireMail(parts.mail)
      const { outcome } = await ofAccount(context, userId, (call) => requestReset(parts, userId, call))
      metrics.emailRequests.inc({ purpose: 'reset', outcome })
      return {}
    }
  } satisfies ServiceImpl<typeof AdminService>)

  /** Runs a flow for the account that a request names, and adds the account to the log line, also if the flow fails. */
  function ofAccount<T>(context: HandlerContext, userId: string, flow: (call: Call) => Promise<T>): Promise<T> {
    recordAccount(context, userId)
    return flow(callOf(context, log))
  }
}

async function requestReset(parts: AccountParts, userId: string, call: Call) {
  const { email, disabledAt } = await getUser(parts, { case: 'userId', value: userId }, call)
  if (disabledAt !== null) throw accountDisabled()
  return requestPasswordReset(parts, { email }, call)
}

/** Any other text than a user id is input of the caller, which no log line contains. */
function recordAccount({ values }: HandlerContext, userId: string): void {
  if (uuidRule('user_id', userId).value) values.set(lineKey, { userId })
}

function adminUser({ id, email, createdAt, emailVerifiedAt, disabledAt, passwordHash }: User) {
  return {
    id,
    email,
    createdAt: timestampFromDate(createdAt),
    ...(emailVerifiedAt && { emailVerifiedAt: timestampFromDate(emailVerifiedAt) }),
    ...(disabledAt && { disabledAt: timestampFromDate(disabledAt) }),
    passwordScheme: passwordScheme(passwordHash)
  }
}
