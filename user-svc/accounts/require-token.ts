/** Requires the token of an email: finds its row and the account, and checks them. */

import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq, sql } from '../drizzle.ts'
import type { EmailPurpose } from '../mail/email-purposes.ts'
import { emailIdOf, isTokenOf } from '../mail/email-token.ts'
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
  const purpose = purposes.find((each) => each === found?.email.purpose)
  if (found && purpose && isTokenOf(found.email, token, mail?.keys ?? []) && isCurrent(found)) {
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

/** A decoy is never found, because it has no account. */
async function findEmail(db: Database, id: string, call: Call) {
  const query = db
    .select({ email: emails, user: users, isExpired: sql<boolean>`${emails.expiresAt} <= now()` })
    .from(emails)
    .innerJoin(users, eq(users.id, emails.userId))
    .where(eq(emails.id, id))
  const [found] = await callEngine(call.signal, query)
  return found
}

/** The new address of a change is no address of the account yet. */
function isCurrent({ email, user, isExpired }: FoundEmail): boolean {
  const isRecipient = email.purpose === 'change' || email.recipient === user.email
  const isSameEpoch = email.sessionEpoch === user.sessionEpoch
  return !isExpired && email.usedAt === null && isSameEpoch && isRecipient && user.disabledAt === null
}
