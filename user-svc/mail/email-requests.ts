/** The parts of SQL statements that make an email due: its limit and its row. */

import { createHmac } from 'node:crypto'
import type { SQL } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import type { MailOptions } from '#common/config/mail-section.ts'
import { sql } from '../drizzle.ts'
import { emailLimits, emails } from '../schema.ts'
import type { EmailPurpose } from './email-purposes.ts'
import { keyBytes } from './email-token.ts'

const validHours: Record<EmailPurpose, number> = {
  verify: 24,
  change: 24,
  reset: 1,
  'change-notice': 24,
  'registration-notice': 24
}
const maxPerDay = 5

/** The key of a limit: an HMAC, so that the table holds no address. */
export function limitKey({ keys }: Pick<MailOptions, 'keys'>, purpose: EmailPurpose, address: string): string {
  const [newest = ''] = keys
  return createHmac('sha256', keyBytes(newest))
    .update(JSON.stringify(['email-limit', purpose, address]))
    .digest('base64url')
}

/**
 * An insert that counts an email and returns a row, if the limit of its purpose and address allows the email: one a minute,
 * five a day. Of concurrent requests one gets a row; a request over the limit writes and locks nothing, unless it waited for another.
 *
 * @param source the item of a FROM clause; nothing is counted if it has no row
 */
export function countEmail(
  mail: Pick<MailOptions, 'keys'>,
  { purpose, address, source = sql`(select) as once` }: { purpose: EmailPurpose; address: string; source?: SQL }
): SQL {
  const key = limitKey(mail, purpose, address)
  const isReached = (row: SQL) => sql`coalesce(
    ${row}.sent_at[1] > now() - interval '1 minute' or ${row}.sent_at[${sql.raw(String(maxPerDay))}] > now() - interval '1 day', false)`
  return sql`
    insert into ${emailLimits} as counted (key, sent_at)
    select ${key}, array[now()] from ${source}
    where not exists (select from ${emailLimits} as present where key = ${key} and ${isReached(sql`present`)})
    on conflict (key) do update set sent_at = (excluded.sent_at || counted.sent_at)[1:${sql.raw(String(maxPerDay))}]
    where not ${isReached(sql`counted`)}
    returning key`
}

/**
 * An insert of the row of an email for each row of `source`. Without a user and a recipient, the row is a decoy.
 *
 * @param columns SQL expressions over `source`
 */
export function insertEmail(
  purpose: EmailPurpose,
  { userId, recipient, epoch, source }: { userId: SQL; recipient: SQL; epoch: SQL; source: SQL }
): SQL {
  return sql`
    insert into ${emails} (id, user_id, purpose, recipient, session_epoch, expires_at)
    select ${uuidv7()}::uuid, ${userId}, ${purpose}, ${recipient}, ${epoch}, now() + make_interval(hours => ${sql.raw(String(validHours[purpose]))})
    from ${source}`
}
