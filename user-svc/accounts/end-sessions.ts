/** Ends the sessions of an account after a statement that raised its epoch and wrote an outbox row. */

import { Code, ConnectError } from '@connectrpc/connect'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { maxCreatedEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { sql } from '../drizzle.ts'
import { users } from '../schema.ts'
import type { AccountParts } from './account-parts.ts'

/** The SQL of an account's next epoch. */
export const raisedEpoch = sql`least(${users.sessionEpoch}, ${String(maxCreatedEpoch)}::bigint) + 1`

interface RaisedEpoch {
  userId: string
  epoch: bigint
  keptSessionId?: string
}

/**
 * @returns the number of valid sessions that ended
 * @throws ConnectError never `unavailable`, because the statement is applied; the outbox relay then ends the sessions
 */
export async function endSessions(
  { sessionClient }: Pick<AccountParts, 'sessionClient'>,
  { userId, epoch, keptSessionId = '' }: RaisedEpoch,
  call: Call
): Promise<number> {
  // No counted epoch is higher, so the sessions of an account that has reached it do not differ by their epoch.
  const target = epoch >= maxRevokedEpoch ? { epoch: maxRevokedEpoch, all: true } : { epoch, keptSessionId }
  const revocation = sessionClient.sessions.deleteUserSessions({ userId, ...target }, propagate(call))
  return (await afterStatement(revocation)).endedSessions
}

/** The result of a call after an applied statement: `unavailable`, which means certainly not applied, would be wrong. */
export async function afterStatement<T>(result: Promise<T>): Promise<T> {
  try {
    return await result
  } catch (error) {
    throw ConnectError.from(error).code === Code.Unavailable ? deadlineExceeded(error) : error
  }
}
