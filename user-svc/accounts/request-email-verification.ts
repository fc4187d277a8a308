/** Request for the email that verifies the address of an account. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { sql } from '../drizzle.ts'
import { countEmail, insertEmail } from '../mail/email-requests.ts'
import { users } from '../schema.ts'
import type { AccountParts } from './account-parts.ts'
import { type EmailRequestResult, requireMail } from './email-request-result.ts'
import { requireAccount } from './get-account.ts'

/**
 * A verified address gets no email, and neither does that of a disabled account.
 *
 * @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND, `failed_precondition` MAIL_NOT_CONFIGURED
 */
export async function requestEmailVerification(
  { db, mail }: Pick<AccountParts, 'db' | 'mail'>,
  userId: string,
  call: Call
): Promise<EmailRequestResult> {
  const configured = requireMail(mail)
  requireFields(uuidRule('user_id', userId))
  const { email, emailVerifiedAt, disabledAt } = await requireAccount(db, userId, call)
  if (emailVerifiedAt !== null || disabledAt !== null) return { outcome: 'unneeded', userId }
  const statement = db.execute(sql`
    with account as materialized (
      select id, email, session_epoch from ${users}
      where id = ${userId} and email = ${email} and email_verified_at is null and disabled_at is null for key share),
    counted as (${countEmail(configured, { purpose: 'verify', address: email, source: sql`account` })})
    ${insertEmail('verify', {
      userId: sql`account.id`,
      recipient: sql`account.email`,
      epoch: sql`account.session_epoch`,
      source: sql`account cross join counted`
    })}
    returning id`)
  const { rows } = await callEngine(call.signal, statement, true)
  return { outcome: rows.length > 0 ? 'queued' : 'limited', userId }
}
