/** Disables and enables an account, and ends its sessions, for operators. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { accountNotFound } from '../accounts/account-errors.ts'
import type { AccountParts, User } from '../accounts/account-parts.ts'
import { afterStatement, endSessions, raisedEpoch } from '../accounts/end-sessions.ts'
import { requireAccount } from '../accounts/get-account.ts'
import { sql } from '../drizzle.ts'
import { outbox, users } from '../schema.ts'

type StateParts = Pick<AccountParts, 'db' | 'sessionClient'>

/**
 * A repeated call writes no second event, and completes the end of the sessions if the first was interrupted.
 *
 * @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND; after the statement never `unavailable`
 */
export async function disableUser(parts: StateParts, userId: string, call: Call): Promise<User> {
  requireFields(uuidRule('user_id', userId))
  const statement = parts.db.execute(sql`
    with changed as (
      update ${users} set disabled_at = now(), session_epoch = ${raisedEpoch}
      where id = ${userId} and disabled_at is null returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch) select 'user.disabled', id, session_epoch from changed`)
  await callEngine(call.signal, statement, true)
  const user = await afterStatement(requireAccount(parts.db, userId, call))
  // Enabled meanwhile: the call that disabled the account has its own revocation.
  if (user.disabledAt !== null) await endSessions(parts, { userId, epoch: user.sessionEpoch }, call)
  return user
}

/** @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND */
export async function enableUser({ db }: StateParts, userId: string, call: Call): Promise<User> {
  requireFields(uuidRule('user_id', userId))
  const statement = db.execute(sql`
    with changed as (
      update ${users} set disabled_at = null where id = ${userId} and disabled_at is not null returning id)
    insert into ${outbox} (type, user_id) select 'user.enabled', id from changed`)
  await callEngine(call.signal, statement, true)
  return afterStatement(requireAccount(db, userId, call))
}

/**
 * @returns the number of valid sessions that ended
 * @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND; after the statement never `unavailable`
 */
export async function endAllSessions(parts: StateParts, userId: string, call: Call): Promise<number> {
  requireFields(uuidRule('user_id', userId))
  const statement = parts.db.execute<{ session_epoch: string }>(sql`
    with raised as (
      update ${users} set session_epoch = ${raisedEpoch} where id = ${userId} returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch)
    select 'user.sessions_ended', id, session_epoch from raised returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw accountNotFound()
  return endSessions(parts, { userId, epoch: BigInt(row.session_epoch) }, call)
}
