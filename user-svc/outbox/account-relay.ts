/** The relay's steps for the rows of accounts: ends sessions at session-svc, and publishes events to Kafka. */

import type { Client } from '@connectrpc/connect'
import { newTrace } from '#common/ops/trace.ts'
import { propagate } from '#common/rpc/call-context.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import { accountEventTypes, eventOf, revocationOf } from './account-event-types.ts'
import type { AccountEvents } from './account-events.ts'
import type { RelayParts } from './relay.ts'

const revocationTimeoutMs = 3000

/** @param events without brokers, undefined: no events are published */
export function accountRelay(
  sessions: Pick<Client<typeof SessionService>, 'deleteUserSessions'>,
  events: AccountEvents | undefined
): Pick<RelayParts, 'types' | 'endSessions' | 'encode' | 'publish'> {
  return {
    types: accountEventTypes,
    encode: eventOf,
    async endSessions(row) {
      const call = { trace: newTrace(), timeoutMs: () => revocationTimeoutMs }
      await sessions.deleteUserSessions(revocationOf(row), propagate(call))
    },
    publish: async (encoded) => events?.publish(encoded)
  }
}
