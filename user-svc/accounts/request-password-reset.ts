/** Request for the email that resets a password. Known and unknown addresses run the same statement. */

import { requireFields } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { atLeastMs } from '../least-duration.ts'
import { countEmail, insertEmail } from '../mail/email-requests.ts'
import { users } from '../schema.ts'
import type { AccountParts } from './account-parts.ts'
import { type EmailRequestResult, requireMail } from './email-request-result.ts'

// Longer than the statement takes on an idle database: with an account, it takes 0.03 to 0.07 ms longer.
const leastMs = 8

/**
 * A disabled account counts as unknown.
 *
 * @returns the result, which the caller of the RPC must not see
 * @throws ConnectError `invalid_argument`, `failed_precondition` MAIL_NOT_CONFIGURED
 */
export async function requestPasswordReset(
  { db, mail }: Pick<AccountParts, 'db' | 'mail'>,
  request: { email: string },
  call: Call
): Promise<EmailRequestResult> {
  const configured = requireMail(mail)
  const [email] = requireFields({ field: 'email', value: normalizeEmail(request.email), description: emailRule })
  // The lock of the account keeps it until the row of the email is committed; a deletion then erases both.
  const statement = db.execute<{ user_id: string | null }>(sql`
    with counted as (${countEmail(configured, { purpose: 'reset', address: email })}),
    account as (
      select users.id, users.email, users.session_epoch from ${users} cross join counted
      where users.email = ${email} and disabled_at is null for key share of users)
    ${insertEmail('reset', {
      userId: sql`account.id`,
      recipient: sql`account.email`,
      epoch: sql`coalesce(account.session_epoch, 0)`,
      source: sql`counted left join account on true`
    })}
    returning user_id`)
  const [row] = (await atLeastMs(leastMs, callEngine(call.signal, statement, true))).rows
  if (row === undefined) return { outcome: 'limited' }
  return row.user_id === null ? { outcome: 'unknown' } : { outcome: 'queued', userId: row.user_id }
}
