/**
 * Registration that does not show whether an address is taken: every caller gets one answer, and only the owner of the address
 * gets an email. Free and taken addresses cost one hash and the same statements.
 */

import { v7 as uuidv7 } from 'uuid'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { countEmail, insertEmail } from '../mail/email-requests.ts'
import { outbox, users } from '../schema.ts'
import type { AccountParts, MailParts, User } from './account-parts.ts'
import { withoutAccount } from './check-password.ts'
import { type EmailRequestResult, requireMail } from './email-request-result.ts'
import { type Registration, requireValid } from './register.ts'

/** The id of the new account, or the result of the email to the owner of a taken address. */
export type ConcealedRegistration = { createdId: string } | { notice: EmailRequestResult }

/**
 * Creates the account without a session, or changes nothing if the address is taken.
 *
 * @returns the result, which the caller of the RPC must not see
 * @throws ConnectError `invalid_argument`, `failed_precondition` MAIL_NOT_CONFIGURED; `unavailable` before the hash while
 *   PostgreSQL is down
 */
export async function registerConcealed(
  parts: AccountParts,
  request: Registration,
  call: Call
): Promise<ConcealedRegistration> {
  const { db, passwords, hashQueue } = parts
  const mail = requireMail(parts.mail)
  const { email, password } = await requireValid(request, parts)
  const queued = withoutAccount(parts, call, request.client)
  await hashQueue.prepare('registration', queued, () => requireAccounts(db, call))
  const passwordHash = await hashQueue.run('registration', queued, () => passwords.hash(password, call.signal))
  const statement = db.execute<Row>(registration(mail, { id: uuidv7(), email, passwordHash }))
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw new TypeError('the statement returned no row')
  return row.created_id === null ? { notice: noticeOf(row) } : { createdId: row.created_id }
}

/** Otherwise each call would cost a hash while PostgreSQL is down. Reads no row, so the address has no effect. */
async function requireAccounts(db: Database, call: Call): Promise<void> {
  await callEngine(call.signal, db.execute(sql`select from ${users} limit 0`))
}

type Row = { created_id: string | null; owner_id: string | null; is_counted: boolean; notified_id: string | null }

/** Without an owner, another registration of the address was committed meanwhile. */
function noticeOf({ owner_id, is_counted, notified_id }: Row): EmailRequestResult {
  if (notified_id !== null) return { outcome: 'queued', userId: notified_id }
  return { outcome: is_counted ? 'unknown' : 'limited', ...(owner_id !== null && { userId: owner_id }) }
}

/**
 * Inserts one row of an email in every case: the verification of a new account, the notice to the owner of a taken address, or
 * a decoy. A statement that wrote nothing over the limit would be faster. The lock of the owner keeps the account until the row
 * of the email is committed; a deletion then erases both.
 */
function registration(mail: MailParts, { id, email, passwordHash }: Pick<User, 'id' | 'email' | 'passwordHash'>) {
  return sql`
    with owner as materialized (
      select id, email, session_epoch, disabled_at from ${users} where email = ${email} for key share),
    created as (
      insert into ${users} (id, email, password_hash, session_epoch)
      select ${id}::uuid, ${email}, ${passwordHash}, 0 where not exists (select from owner)
      on conflict (email) do nothing returning id, email),
    event as (insert into ${outbox} (type, user_id) select 'user.created', id from created),
    verification as (${countEmail(mail, { purpose: 'verify', address: email, source: sql`created` })}),
    verified as (${insertEmail('verify', {
      userId: sql`created.id`,
      recipient: sql`created.email`,
      epoch: sql`0`,
      source: sql`created cross join verification`
    })}
    returning id),
    notice as (${countEmail(mail, {
      purpose: 'registration-notice',
      address: email,
      source: sql`(select where not exists (select from created)) as taken`
    })}),
    notified as (${insertEmail('registration-notice', {
      userId: sql`owner.id`,
      recipient: sql`owner.email`,
      epoch: sql`coalesce(owner.session_epoch, 0)`,
      source: sql`(select) as once left join (owner cross join notice) on disabled_at is null
        where not exists (select from verified)`
    })}
    returning user_id)
    select (select id from created) as created_id, (select id from owner) as owner_id,
      exists (select from notice) as is_counted, (select user_id from notified) as notified_id`
}
