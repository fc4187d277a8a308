/** Requires the token of an email: finds its row and the account, and checks them. */

import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq, sql } from '../drizzle.ts'
import type { EmailPurpose } from '../mail/email-purposes.ts'
import { type EmailTokenRow, emailIdOf, isTokenOf } from '../mail/email-token.ts'
import { emails, users } from '../schema.ts'
import { tokenRejected } from './account-errors.ts'
import type { AccountParts } from './account-parts.ts'

/** A token that was valid when it was read. The statement that consumes it checks its state again. */
export type UsableToken = Awaited<ReturnType<typeof requireToken>>

/**
 * @param failed names the log line of a rejection
 * @throws ConnectError `permission_denied` TOKEN_REJECTED, with one text for every cause. Without mail configuration, every
 *   token is rejected
 */
export async function requireToken(
  { db, mail }: Pick<AccountParts, 'db' | 'mail'>,
  token: string,
  { purposes, failed }: { purposes: EmailPurpose[]; failed: string },
  call: Call
) {
  const id = emailIdOf(token)
  const found = id === undefined ? undefined : await findEmail(db, id, call)
  const isToken = id !== undefined && isTokenOf(found?.email ?? decoy, token, mail?.keys ?? [])
  const purpose = purposes.find((each) => each === found?.email.purpose)
  if (found && purpose && isToken && isCurrent(found)) {
    return { id: found.email.id, purpose, user: found.user, recipient: found.email.recipient ?? '' }
  }
  throw rejectToken(failed, found?.user.id, call)
}

/** Logs the rejection of a token. */
export function rejectToken(failed: string, userId: string | undefined, { log }: Call) {
  log.info({ event: failed, reason: 'token', ...(userId && { userId }) }, 'rejected the token of an email')
  return tokenRejected()
}

type FoundEmail = NonNullable<Awaited<ReturnType<typeof findEmail>>>

/** Costs the same work as the row of an email. Its token is that of no row: the id is not in the table. */
const decoy: EmailTokenRow = {
  id: '00000000-0000-7000-8000-000000000000',
  userId: '00000000-0000-7000-8000-000000000000',
  purpose: 'reset',
  recipient: 'unknown@example.org',
  sessionEpoch: 0n,
  expiresAt: new Date(0)
}

const emailColumns = {
  ...{ id: emails.id, userId: emails.userId, purpose: emails.purpose, recipient: emails.recipient },
  ...{ sessionEpoch: emails.sessionEpoch, expiresAt: emails.expiresAt, usedAt: emails.usedAt }
}
const userColumns = {
  ...{ id: users.id, email: users.email, passwordHash: users.passwordHash },
  ...{ sessionEpoch: users.sessionEpoch, disabledAt: users.disabledAt }
}

/**
 * Reads one row for every id, so that the work does not show whether the email exists. The email of a request for an unknown
 * address is never found, because it has no account.
 */
async function findEmail(db: Database, id: string, call: Call) {
  const query = db
    .select({ email: emailColumns, user: userColumns, isExpired: sql<boolean>`${emails.expiresAt} <= now()` })
    .from(sql`(values (${id}::uuid)) as requested (id)`)
    .leftJoin(emails, sql`${emails.id} = requested.id`)
    .leftJoin(users, eq(users.id, emails.userId))
  const [row] = await callEngine(call.signal, query)
  return row?.email && row.user ? { email: row.email, user: row.user, isExpired: row.isExpired } : undefined
}

/** The new address of a change is no address of the account yet. */
function isCurrent({ email, user, isExpired }: FoundEmail): boolean {
  const isRecipient = email.purpose === 'change' || email.recipient === user.email
  const isSameEpoch = email.sessionEpoch === user.sessionEpoch
  return !isExpired && email.usedAt === null && isSameEpoch && isRecipient && user.disabledAt === null
}
