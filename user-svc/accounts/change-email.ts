/** Request for a change of address: an email with a token to the new address, a notice to the old one. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { countEmail, insertEmail } from '../mail/email-requests.ts'
import { emails, users } from '../schema.ts'
import { wrongPassword } from './account-errors.ts'
import type { AccountParts, ClientOrigin, MailParts, User } from './account-parts.ts'
import { beforeAccount, guessOf, requirePassword } from './check-password.ts'
import { type EmailRequestResult, requireMail } from './email-request-result.ts'
import { requireAccount } from './get-account.ts'

interface EmailChange {
  userId: string
  email: string
  password: string
  client?: ClientOrigin | undefined
}

const failed = 'email_change_fail'
const unchanged = { description: 'must differ from the address of the account', code: 'unchanged' } as const

/**
 * @returns the result, of which the caller of the RPC must not see `unknown`: another account has the new address
 * @throws ConnectError `invalid_argument`; `permission_denied` WRONG_PASSWORD or ACCOUNT_DISABLED; `not_found`
 *   ACCOUNT_NOT_FOUND; `failed_precondition` MAIL_NOT_CONFIGURED
 */
export async function changeEmail(parts: AccountParts, request: EmailChange, call: Call): Promise<EmailRequestResult> {
  const { db, hashQueue, guesses } = parts
  const mail = requireMail(parts.mail)
  const [userId, address] = requireFields(uuidRule('user_id', request.userId), {
    field: 'email',
    value: normalizeEmail(request.email),
    description: emailRule
  })
  const account = await hashQueue.prepare('login', beforeAccount(parts, call, request.client), async () => {
    const user = await requireAccount(db, userId, call)
    requireFields({ field: 'email', value: address !== user.email, ...unchanged })
    return { user, guess: await guesses.reserve(guessOf(parts, { email: user.email, user }, request.client), call) }
  })
  await requirePassword(parts, account, request.password, failed, call)
  const outcome = await writeEmails(db, mail, { user: account.user, address }, call)
  if (outcome === undefined) {
    call.log.info({ event: failed, userId }, 'rejected a password that was changed meanwhile')
    throw wrongPassword('The password was changed meanwhile.')
  }
  return { outcome, userId }
}

/**
 * Locks the account before its emails, as a deletion does. A newer request supersedes the pending ones, so that a mistyped
 * address cannot be confirmed later. If the new address is taken, the row for it is a decoy.
 *
 * @returns nothing if the account no longer has the password that was checked
 */
async function writeEmails(
  db: Database,
  mail: MailParts,
  { user, address }: { user: User; address: string },
  call: Call
): Promise<EmailRequestResult['outcome'] | undefined> {
  const isFree = sql`not exists (select from ${users} where email = ${address})`
  const statement = db.execute<{ queued: boolean | null }>(sql`
    with account as materialized (
      select id, email, session_epoch, case when ${isFree} then id end as changed_id from ${users}
      where id = ${user.id} and password_hash = ${user.passwordHash} and disabled_at is null for no key update),
    counted as (${countEmail(mail, { purpose: 'change', address, source: sql`account` })}),
    noticed as (${countEmail(mail, { purpose: 'change-notice', address: user.email, source: sql`counted` })}),
    superseded as (
      update ${emails} set used_at = now() from account cross join counted
      where emails.user_id = account.id and purpose = 'change' and used_at is null),
    notice as (${insertEmail('change-notice', {
      userId: sql`account.id`,
      recipient: sql`account.email`,
      epoch: sql`account.session_epoch`,
      source: sql`account cross join noticed`
    })}),
    change as (${insertEmail('change', {
      userId: sql`account.changed_id`,
      recipient: sql`case when account.changed_id is not null then ${address} end`,
      epoch: sql`account.session_epoch`,
      source: sql`account cross join counted`
    })}
    returning user_id is not null as queued)
    select (select queued from change) from account`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) return undefined
  if (row.queued === null) return 'limited'
  return row.queued ? 'queued' : 'unknown'
}
