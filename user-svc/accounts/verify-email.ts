/** Use of the token of an email that verifies an address, or changes it. Creates no session and ends none. */

import { Code, ConnectError } from '@connectrpc/connect'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { emails, outbox, users } from '../schema.ts'
import { addressTaken } from './account-errors.ts'
import type { AccountParts } from './account-parts.ts'
import { rejectToken, requireToken, type UsableToken } from './require-token.ts'

const failed = 'email_verification_fail'

interface VerifiedEmail {
  userId: string
  /** The token has changed the address of the account. */
  emailChanged: boolean
}

/** @throws ConnectError `permission_denied` TOKEN_REJECTED; `already_exists` ADDRESS_TAKEN */
export async function verifyEmail(
  parts: Pick<AccountParts, 'db' | 'mail'>,
  token: string,
  call: Call
): Promise<VerifiedEmail> {
  const usable = await requireToken(parts, token, { purposes: ['verify', 'change'], failed }, call)
  const emailChanged = usable.purpose === 'change'
  const isDone = await (emailChanged ? changeAddress : verifyAddress)(parts.db, usable, call)
  if (!isDone) throw rejectToken(failed, usable.user.id, call)
  return { userId: usable.user.id, emailChanged }
}

/** Locks the account before its emails, as a deletion does, and consumes the token if its state is still valid. */
function consumeToken({ id, user }: UsableToken, isUnchanged = sql`true`) {
  return sql`
    account as materialized (
      select id from ${users}
      where id = ${user.id} and session_epoch = ${String(user.sessionEpoch)} and disabled_at is null and ${isUnchanged}
      for update),
    consumed as (
      update ${emails} set used_at = now() from account
      where emails.id = ${id} and used_at is null and expires_at > now() returning user_id)`
}

async function verifyAddress(db: Database, token: UsableToken, call: Call): Promise<boolean> {
  const statement = db.execute(sql`
    with ${consumeToken(token, sql`email = ${token.recipient}`)},
    verified as (
      update ${users} set email_verified_at = now() from consumed
      where users.id = consumed.user_id and email_verified_at is null returning users.id),
    event as (insert into ${outbox} (type, user_id) select 'user.email_verified', id from verified)
    select user_id from consumed`)
  return (await callEngine(call.signal, statement, true)).rows.length > 0
}

/** Other pending changes of the account end. */
async function changeAddress(db: Database, token: UsableToken, call: Call): Promise<boolean> {
  const statement = db.execute(sql`
    with ${consumeToken(token)},
    changed as (
      update ${users} set email = ${token.recipient}, email_verified_at = now() from consumed
      where users.id = consumed.user_id returning users.id),
    superseded as (
      update ${emails} set used_at = now() from changed
      where emails.user_id = changed.id and emails.id <> ${token.id} and purpose = 'change' and used_at is null)
    insert into ${outbox} (type, user_id) select 'user.email_changed', id from changed
    returning user_id`)
  try {
    return (await callEngine(call.signal, statement, true)).rows.length > 0
  } catch (error) {
    throw error instanceof ConnectError && error.code === Code.AlreadyExists ? addressTaken() : error
  }
}
