/** The SQL of the emails: leases rows to one sender at a time, and records the result of each attempt. */

import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { and, eq, sql } from '../drizzle.ts'
import { emailLimits, emails } from '../schema.ts'
import { emailPurposes, noticePurposes } from './email-purposes.ts'

/** An email that is leased to a sender. */
export type DueEmail = Awaited<ReturnType<ReturnType<typeof createEmailRows>['claim']>>[number]

const queryTimeoutMs = 3000
const leaseSeconds = 75
const retrySeconds = 1
const maxBackoffSeconds = 300
const givesUpAfter = sql`interval '1 day'`
const deadRetention = sql`interval '7 days'`

const isPending = sql`emails.sent_at is null and emails.dead_at is null`
const isUnleased = sql`(emails.claimed_until is null or emails.claimed_until < now())`
// A notice has no token, so it stays true after a change of the password. That of a change also stays true for a disabled
// account, and goes to its old address.
const isValid = sql`
  emails.recipient is not null and emails.used_at is null
  and (emails.purpose in ${[...noticePurposes]} or users.session_epoch = emails.session_epoch)
  and (emails.purpose = 'change-notice' or users.disabled_at is null)
  and (emails.purpose not in ('verify', 'reset', 'registration-notice') or users.email = emails.recipient)`
const afterSeconds = (seconds: unknown) => sql`now() + make_interval(secs => ${seconds})`

export type EmailRows = ReturnType<typeof createEmailRows>

export function createEmailRows(db: Database) {
  const query = <T>(result: PromiseLike<T>) => callEngine(queryTimeoutMs, result, true)

  /** Whether the sender still holds the lease. */
  function isLeased({ id, claimedUntil }: Lease) {
    return and(eq(emails.id, id), eq(emails.claimedUntil, claimedUntil as Date), isPending)
  }

  /** Ends a lease after a failure. @returns whether the sender gave up, because the email is older than a day */
  async function retryLater(lease: Lease, change: object, failure: string): Promise<boolean> {
    const deadAt = sql`case when created_at < now() - ${givesUpAfter} then now() end`
    const statement = db
      .update(emails)
      .set({ ...change, failure, deadAt })
      .where(isLeased(lease))
    const [row] = await query(statement.returning({ deadAt: emails.deadAt }))
    return row?.deadAt != null
  }

  return {
    /** Leases at most `limit` emails that are due; rows that were never tried come first. */
    async claim(limit: number) {
      const candidates = sql`
        select emails.id from emails join users on users.id = emails.user_id
        where ${isPending} and ${isUnleased} and ${isValid} and emails.expires_at > now()
          and emails.purpose in ${[...emailPurposes]}
        order by emails.claimed_until nulls first, emails.id limit ${limit} for update of emails skip locked`
      const statement = db
        .update(emails)
        .set({ claimedUntil: afterSeconds(leaseSeconds) })
        .where(sql`id in (${candidates})`)
      return await query(statement.returning())
    },

    /** @returns whether the lease was still held; otherwise another sender may send the email again */
    async markSent(lease: Lease): Promise<boolean> {
      const statement = db.update(emails).set({ sentAt: sql`now()`, failure: null }).where(isLeased(lease))
      return (await query(statement.returning({ id: emails.id }))).length > 0
    },

    /** Ends the lease of an email that will never be sent. @returns whether the lease was still held */
    async markDead(lease: Lease, failure: string): Promise<boolean> {
      const statement = db.update(emails).set({ deadAt: sql`now()`, failure }).where(isLeased(lease))
      return (await query(statement.returning({ id: emails.id }))).length > 0
    },

    /** Ends the lease of an email after a failure of the server: it is retried after a second. */
    release: (lease: Lease, failure: string) =>
      retryLater(lease, { claimedUntil: afterSeconds(retrySeconds) }, failure),

    /** Ends the lease of an email that failed: the wait doubles with each attempt, up to five minutes. */
    backOff(lease: Lease, failure: string): Promise<boolean> {
      const seconds = sql`least(${maxBackoffSeconds}, ${retrySeconds} * power(2, least(attempts, 30)))`
      return retryLater(lease, { attempts: sql`attempts + 1`, claimedUntil: afterSeconds(seconds) }, failure)
    },

    /** Deletes emails without a purpose: decoys, and those whose token is used or became invalid before they were sent. */
    async dropObsolete(): Promise<void> {
      const isObsolete = sql`not exists (select from users where users.id = emails.user_id and ${isValid})`
      const candidates = sql`
        select id from emails where ${isPending} and ${isUnleased} and ${isObsolete} for update skip locked`
      await query(db.delete(emails).where(sql`id in (${candidates})`))
    },

    /** Gives up the emails whose token expired before they were sent. */
    async expire() {
      const statement = db
        .update(emails)
        .set({ deadAt: sql`now()`, failure: sql`coalesce(failure, 'expired')` })
        .where(and(isPending, isUnleased, sql`expires_at <= now()`))
      return await query(
        statement.returning({ userId: emails.userId, purpose: emails.purpose, failure: emails.failure })
      )
    },

    /** @returns the number of emails that wait, and the age of the oldest in seconds */
    async count(): Promise<{ pending: number; oldestSeconds: number }> {
      const { rows } = await query(
        db.execute<{ pending: number; oldestSeconds: number }>(sql`
          select count(*)::int as pending,
            coalesce(extract(epoch from now() - min(emails.created_at)), 0)::float8 as "oldestSeconds"
          from emails where ${isPending} and emails.recipient is not null`)
      )
      return rows[0] ?? { pending: 0, oldestSeconds: 0 }
    },

    /** Deletes the rows of expired tokens (of dead letters a week later), and the limits of addresses without an email for a day. */
    async deleteExpired(): Promise<void> {
      await query(
        db.delete(emails).where(sql`
          (expires_at < now() and sent_at is not null) or (expires_at < now() - ${deadRetention} and dead_at is not null)`)
      )
      await query(db.delete(emailLimits).where(sql`sent_at[1] < now() - interval '1 day'`))
    }
  }
}

type Lease = Pick<typeof emails.$inferSelect, 'id' | 'claimedUntil'>
