/** The SQL of the outbox: leases rows to one relay at a time, and records the result of each step. */

import type { SQL } from 'drizzle-orm'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { inArray, sql } from '../drizzle.ts'
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
/** The maximum number of rows that a relay leases at a time. An import writes 10,000 rows a second. */
export const batchRows = 500
const expiredRows = 10_000
const retrySeconds = 1
const maxBackoffSeconds = 60
const failingAfterAttempts = 3
const retentionDays = 30

const ids = (rows: OutboxRow[]) => rows.map(({ id }) => id)
const afterSeconds = (seconds: unknown) => sql`now() + make_interval(secs => ${seconds})`
const isFree = sql`done_at is null and (claimed_until is null or claimed_until < now())`
const endsSessions = sql`session_epoch is not null and revoked_at is null`

export type OutboxRows = ReturnType<typeof createOutboxRows>

export function createOutboxRows(db: Database) {
  const query = <T>(result: PromiseLike<T>) => callEngine(queryTimeoutMs, result, true)

  async function lease(candidates: SQL): Promise<OutboxRow[]> {
    const claimedUntil = afterSeconds(leaseSeconds)
    const statement = db.update(outbox).set({ claimedUntil }).where(sql`id in (${candidates})`).returning()
    const rows = await query(statement)
    return rows.sort((a, b) => Number(a.id - b.id))
  }

  async function update(rows: OutboxRow[], values: Record<string, SQL | number | null>): Promise<void> {
    if (rows.length === 0) return
    await query(
      db
        .update(outbox)
        .set(values)
        .where(inArray(outbox.id, ids(rows)))
    )
  }

  return {
    /** Leases rows of these types whose sessions have not ended. A revocation waits for no other row. */
    claimRevocations(types: string[]): Promise<OutboxRow[]> {
      return lease(sql`
        select id from outbox where ${isFree} and ${endsSessions} and type in ${types}
        order by claimed_until nulls first, id limit ${batchRows} for update skip locked`)
    },

    /**
     * Leases rows of these types whose sessions have ended, to deliver their events: at most one of each user. A row waits
     * for the earlier rows of its user, whatever their type; a row that failed lets the rows of other users pass.
     * `offset 0` keeps the planner from a join of all pending rows, which takes minutes while the table has no statistics,
     * such as after a first import.
     */
    claimDeliveries(types: string[]): Promise<OutboxRow[]> {
      return lease(sql`
        select id from outbox candidate where ${isFree} and not (${endsSessions}) and type in ${types}
          and not exists (
            select from outbox earlier
            where earlier.user_id = candidate.user_id and earlier.id < candidate.id and earlier.done_at is null
            offset 0
          )
        order by claimed_until nulls first, id limit ${batchRows} for update skip locked`)
    },

    /** Ends the lease too: the event of the row can be delivered. */
    markRevoked: (rows: OutboxRow[]) => update(rows, { revokedAt: sql`now()`, attempts: 0, claimedUntil: null }),

    markDone: (rows: OutboxRow[]) => update(rows, { doneAt: sql`now()`, attempts: 0 }),

    /** Ends the lease of rows that were not tried, or that failed because of an outage: they are retried after a second. */
    release: (rows: OutboxRow[]) => update(rows, { claimedUntil: afterSeconds(retrySeconds) }),

    /** Ends the lease of rows that failed: the wait doubles with each attempt, up to a minute. */
    backOff(rows: OutboxRow[]): Promise<void> {
      const seconds = sql`least(${maxBackoffSeconds}, ${retrySeconds} * power(2, least(attempts, 30)))`
      return update(rows, { attempts: sql`attempts + 1`, claimedUntil: afterSeconds(seconds) })
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

    /** Deletes the oldest expired rows: as many as the time of a statement suffices for, also after a large import. */
    async deleteExpired(): Promise<void> {
      const expired = sql`
        select id from outbox where done_at < now() - make_interval(days => ${retentionDays})
        order by done_at limit ${expiredRows}`
      await query(db.execute(sql`delete from outbox where id in (${expired})`))
    }
  }
}
