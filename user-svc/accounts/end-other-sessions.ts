/** Ends every session of an account but one. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { isSessionId } from '#common/session/session-token.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { isDeviceOf } from '../brute-force/device-tokens.ts'
import { sql } from '../drizzle.ts'
import { outbox, users } from '../schema.ts'
import { accountNotFound } from './account-errors.ts'
import type { AccountParts, ClientOrigin } from './account-parts.ts'
import { endSessions, raisedEpoch } from './end-sessions.ts'

/**
 * The raised epoch invalidates all device tokens of the account. The device that keeps its session gets a new one.
 *
 * @returns the number of valid sessions that ended
 * @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND
 */
export async function endOtherSessions(
  parts: Pick<AccountParts, 'db' | 'sessionClient' | 'devices'>,
  { userId, keptSessionId, client }: { userId: string; keptSessionId: string; client?: ClientOrigin | undefined },
  call: Call
): Promise<{ endedSessions: number; deviceToken: string | undefined }> {
  requireFields(uuidRule('user_id', userId), keptSessionRule(keptSessionId))
  const statement = parts.db.execute<{ session_epoch: string }>(sql`
    with raised as (
      update ${users} set session_epoch = ${raisedEpoch} where id = ${userId} returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch, payload)
    select 'user.sessions_ended', id, session_epoch, ${JSON.stringify({ keptSessionId })}::jsonb from raised
    returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw accountNotFound()
  const epoch = BigInt(row.session_epoch)
  const endedSessions = await endSessions(parts, { userId, epoch, keptSessionId }, call)
  const device = parts.devices.read(client?.deviceToken)
  const isKept = isDeviceOf(device, { id: userId, sessionEpoch: epoch - 1n })
  return {
    endedSessions,
    deviceToken: isKept ? parts.devices.issue({ id: userId, sessionEpoch: epoch }, device) : undefined
  }
}

function keptSessionRule(id: string) {
  return {
    field: 'kept_session_id',
    value: isSessionId(id) && id,
    description: 'must be the id of a session, 22 characters'
  }
}
