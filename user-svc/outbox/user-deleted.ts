/** Outbox rows of the type `user.deleted`: ends the sessions of the account, then publishes `user.v1.UserDeleted`. */

import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { Client } from '@connectrpc/connect'
import type { Logger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import { capRevokedEpoch } from '#common/session/session-epoch.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserDeletedSchema } from '#gen/user/v1/events_pb.ts'
import type { AccountEvents } from './account-events.ts'
import type { OutboxHandler } from './outbox-handler.ts'

interface UserDeletedParts {
  sessions: Pick<Client<typeof SessionService>, 'deleteUserSessions'>
  /** Without brokers, no events are published. */
  events: AccountEvents | undefined
  log: Logger
}

const revocationTimeoutMs = 3000

export function handleUserDeleted({ sessions, events, log }: UserDeletedParts): OutboxHandler {
  return {
    async endSessions({ userId, sessionEpoch }) {
      if (sessionEpoch === null) throw new TypeError('a row of the type user.deleted has no session epoch')
      const call = { trace: newTrace(), timeoutMs: () => revocationTimeoutMs }
      await sessions.deleteUserSessions({ userId, epoch: capRevokedEpoch(sessionEpoch), all: true }, propagate(call))
    },

    dependency: 'kafka',

    async deliver({ userId, createdAt }) {
      await events?.publish(UserDeletedSchema, {
        // An account is deleted once.
        id: `${userId}/deleted`,
        userId,
        occurredAt: createdAt,
        data: { userId, deletedAt: timestampFromDate(createdAt) }
      })
    },

    onDone({ userId }) {
      log.info({ event: 'user_deletion_completed', userId }, 'processed a user deletion')
    }
  }
}
