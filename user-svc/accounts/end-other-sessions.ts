/** Ends every session of an account but one. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { isSessionId } from '#common/session/session-token.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { sql } from '../drizzle.ts'
import { outbox, users } from '../schema.ts'
import { accountNotFound } from './account-errors.ts'
import type { AccountParts } from './account-parts.ts'
import { endSessions, raisedEpoch } from './end-sessions.ts'

/**
 * @returns the number of valid sessions that ended
 * @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND
 */
export async function endOtherSessions(
  parts: Pick<AccountParts, 'db' | 'sessionClient'>,
  { userId, keptSessionId }: { userId: string; keptSessionId: string },
  call: Call
): Promise<number> {
  requireFields(uuidRule('user_id', userId), keptSessionRule(keptSessionId))
  const statement = parts.db.execute<{ session_epoch: string }>(sql`
    with raised as (
      update ${users} set session_epoch = ${raisedEpoch} where id = ${userId} returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch, payload)
    select 'user.sessions_ended', id, session_epoch, ${JSON.stringify({ keptSessionId })}::jsonb from raised
    returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw accountNotFound()
  return endSessions(parts, { userId, epoch: BigInt(row.session_epoch), keptSessionId }, call)
}

function keptSessionRule(id: string) {
  return {
    field: 'kept_session_id',
    value: isSessionId(id) && id,
    description: 'must be the id of a session, 22 characters'
  }
}
