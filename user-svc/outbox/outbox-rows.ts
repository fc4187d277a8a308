/** The SQL of the outbox: leases rows to one relay at a time, and records the result of each step. */

import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq, inArray, sql } from '../drizzle.ts'
import { outbox } from '../schema.ts'

export interface OutboxRow {
  id: bigint
  type: string
  userId: string
  sessionEpoch: bigint | null
  payload: Record<string, unknown>
  createdAt: Date
  attempts: number
  revokedAt: Date | null
}

const queryTimeoutMs = 3000
const leaseSeconds = 30
const batchRows = 50
const retrySeconds = 1
const maxBackoffSeconds = 60
const failingAfterAttempts = 3
const retentionDays = 30

const ids = (rows: OutboxRow[]) => rows.map(({ id }) => id)
const afterSeconds = (seconds: unknown) => sql`now() + make_interval(secs => ${seconds})`

export type OutboxRows = ReturnType<typeof createOutboxRows>

export function createOutboxRows(db: Database) {
  const query = <T>(result: PromiseLike<T>) => callEngine(queryTimeoutMs, result, true)

  return {
    /**
     * Leases rows of these types. A row waits for earlier rows of its user, whatever their type; a row that failed lets
     * the rows of other users pass.
     */
    async claim(types: string[]): Promise<OutboxRow[]> {
      const candidates = sql`
        select id from outbox candidate
        where done_at is null and (claimed_until is null or claimed_until < now()) and type in ${types}
          and not exists (
            select from outbox earlier
            where earlier.user_id = candidate.user_id and earlier.id < candidate.id and earlier.done_at is null
          )
        order by claimed_until nulls first, id limit ${batchRows} for update skip locked`
      const statement = db
        .update(outbox)
        .set({ claimedUntil: afterSeconds(leaseSeconds) })
        .where(sql`id in (${candidates})`)
        .returning()
      const rows = await query(statement)
      return rows.sort((a, b) => a.attempts - b.attempts || Number(a.id - b.id))
    },

    async markRevoked({ id }: OutboxRow): Promise<void> {
      await query(db.update(outbox).set({ revokedAt: sql`now()`, attempts: 0 }).where(eq(outbox.id, id)))
    },

    async markDone({ id }: OutboxRow): Promise<void> {
      await query(db.update(outbox).set({ doneAt: sql`now()`, attempts: 0 }).where(eq(outbox.id, id)))
    },

    /** Ends the lease of rows that were not tried, or that failed because of an outage: they are retried after a second. */
    async release(rows: OutboxRow[]): Promise<void> {
      if (rows.length === 0) return
      const claimedUntil = afterSeconds(retrySeconds)
      await query(
        db
          .update(outbox)
          .set({ claimedUntil })
          .where(inArray(outbox.id, ids(rows)))
      )
    },

    /** Ends the lease of rows that failed: the wait doubles with each attempt, up to a minute. */
    async backOff(rows: OutboxRow[]): Promise<void> {
      if (rows.length === 0) return
      const seconds = sql`least(${maxBackoffSeconds}, ${retrySeconds} * power(2, least(attempts, 30)))`
      const next = { attempts: sql`attempts + 1`, claimedUntil: afterSeconds(seconds) }
      await query(
        db
          .update(outbox)
          .set(next)
          .where(inArray(outbox.id, ids(rows)))
      )
    },

    /** @returns the number of rows that are not done, and of those with three or more consecutive failed attempts */
    async count(): Promise<{ pending: number; failing: number }> {
      const { rows } = await query(
        db.execute<{ pending: number; failing: number }>(sql`
          select count(*)::int as pending, count(*) filter (where attempts >= ${failingAfterAttempts})::int as failing
          from outbox where done_at is null`)
      )
      return rows[0] ?? { pending: 0, failing: 0 }
    },

    async deleteExpired(): Promise<void> {
      await query(db.delete(outbox).where(sql`done_at < now() - make_interval(days => ${retentionDays})`))
    }
  }
}
