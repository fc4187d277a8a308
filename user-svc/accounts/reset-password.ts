/** Reset of a password by the token of an email: ends every session of the account, and verifies its address. */

import { requireFields } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { ReservedGuess } from '../brute-force/guess-gate.ts'
import { sql } from '../drizzle.ts'
import { unchangedPassword } from '../passwords/password-rules.ts'
import { UnusableHashError } from '../passwords/stored-hash.ts'
import { emails, guessCounts, outbox, users } from '../schema.ts'
import type { AccountParts, ClientOrigin } from './account-parts.ts'
import { beforeAccount, comparePassword, guessOf, inQueue } from './check-password.ts'
import { endSessions, raisedEpoch } from './end-sessions.ts'
import { rejectToken, requireToken, type UsableToken } from './require-token.ts'

const failed = 'authn_password_change_fail'

/**
 * A rejected password does not consume the token.
 *
 * @returns the account's id
 * @throws ConnectError `invalid_argument`, `permission_denied` TOKEN_REJECTED; after the reset never `unavailable`
 */
export async function resetPassword(
  parts: AccountParts,
  { token, newPassword, client }: { token: string; newPassword: string; client?: ClientOrigin | undefined },
  call: Call
): Promise<string> {
  const { passwords, hashQueue, guesses, sessionClient, passwordRules } = parts
  const field = 'new_password'
  requireFields(await passwordRules.newPassword(field, newPassword, ''))
  const { usable, guess } = await hashQueue.prepare('login', beforeAccount(parts, call, client), async () => {
    const usable = await requireToken(parts, token, { purposes: ['reset'], failed }, call)
    // The token would be consumed although the sessions cannot be ended.
    await sessionClient.requireAvailable(call)
    const { user } = usable
    requireFields(await passwordRules.newPassword(field, newPassword, user.email))
    return { usable, guess: await guesses.reserve(guessOf(parts, { email: user.email, user }, client), call) }
  })
  const { user } = usable
  if (await isCurrentPassword(parts, guess, newPassword, call)) requireFields(unchangedPassword(field))
  const passwordHash = await hashQueue.run('login', inQueue(parts, call, guess), () =>
    passwords.hash(newPassword, call.signal)
  )
  const epoch = await consumeToken(parts, usable, passwordHash, call)
  if (epoch === undefined) throw rejectToken(failed, user.id, call)
  await endSessions(parts, { userId: user.id, epoch }, call)
  return user.id
}

/**
 * A stored hash that cannot be used is that of no password; a reset replaces it. While the gate refuses guesses, every password
 * counts as a new one: an attack must not keep the owner from a reset. A password that differs is no failure of the network.
 */
async function isCurrentPassword(
  parts: AccountParts,
  guess: ReservedGuess,
  written: string,
  call: Call
): Promise<boolean> {
  try {
    return (await comparePassword(parts, guess, written, call)).matches
  } catch (error) {
    if (error instanceof UnusableHashError) return false
    throw error
  }
}

/**
 * The raised epoch makes every token of the account invalid, so that one of two concurrent resets succeeds. Like a deletion,
 * the statement locks the account before its emails. It resets the count of wrong passwords.
 *
 * @returns the raised session epoch, or nothing if the token is no longer valid
 */
async function consumeToken(
  { db, guesses }: Pick<AccountParts, 'db' | 'guesses'>,
  { id, recipient, user }: UsableToken,
  passwordHash: string,
  call: Call
): Promise<bigint | undefined> {
  const guessKey = (await guesses.keyOf(user.email)) ?? ''
  const statement = db.execute<{ session_epoch: string }>(sql`
    with changed as (
      update ${users} set password_hash = ${passwordHash}, session_epoch = ${raisedEpoch},
        email_verified_at = coalesce(email_verified_at, now())
      where id = ${user.id} and session_epoch = ${String(user.sessionEpoch)} and email = ${recipient} and disabled_at is null
        and exists (select from ${emails} where emails.id = ${id} and used_at is null and expires_at > now())
      returning id, session_epoch, email_verified_at = now()::timestamptz(3) as newly_verified),
    consumed as (update ${emails} set used_at = now() from changed where emails.id = ${id}),
    forgiven as (delete from ${guessCounts} using changed where key = ${guessKey}),
    verified as (
      insert into ${outbox} (type, user_id) select 'user.email_verified', id from changed where newly_verified)
    insert into ${outbox} (type, user_id, session_epoch, payload)
    select 'user.password_changed', id, session_epoch, '{"reset": true}' from changed
    returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  return row && BigInt(row.session_epoch)
}
