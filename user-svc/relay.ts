/**
 * The outbox's relay: finishes what the deletion of an account has begun, whoever crashed meanwhile. The sessions end,
 * other systems are told, and then the row is done: at least once, and for each user in order. Any number of relays
 * may run; what one has claimed the others leave alone until the claim is over.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { type Client, Code } from '@connectrpc/connect'
import type { Gauge } from '@prometheus-io/client'
import { codeName } from '#common/errors/codes.ts'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'
import { onwards } from '#common/rpc/call-context.ts'
import { revokedEpoch } from '#common/session/session-epoch.ts'
import { askEngine } from '#common/time/engine-call.ts'
import { withinMs } from '#common/time/timeout.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import type { AccountEvents } from './account-events.ts'
import type { Database } from './database.ts'
import { eq, inArray, sql } from './drizzle.ts'
import { outbox } from './schema.ts'

/** What a relay works with. */
export interface RelayParts {
  db: Database
  sessions: Client<typeof SessionService>
  /** Without brokers there is nobody to tell. */
  events: AccountEvents | undefined
  pending: Gauge
  failing: Gauge
  log: Logger
}

/** A relay that runs. */
export interface Relay {
  /** Ends after what is under way, or after two seconds: whoever comes next does it then. */
  close(): Promise<void>
}

const pollMs = 500
const claimSeconds = 30
const retrySeconds = 1
const maxBackoffSeconds = 60
const failingAfter = 3
const logEveryMs = 60_000
// Leaves time to release the rows before the claim ends.
const endSessionsWithinMs = 15_000
const batchRows = 50
const askWithinMs = 3000
const closeWithinMs = 2000
const countEveryMs = 5000
const forgetAfterDays = 30

interface Claimed extends Record<string, unknown> {
  id: string
  user_id: string
  session_epoch: string
  created_at: string
  revoked: boolean
  attempts: number
}

export function startRelay({ db, sessions, events, pending, failing, log }: RelayParts): Relay {
  const stop = new AbortController()
  let countedAt = Number.NEGATIVE_INFINITY
  const loggedFailures = new Map<string, { at: number; unlogged: number }>()

  const ask = <T>(answer: PromiseLike<T>) => askEngine(askWithinMs, answer, true)

  /** A row whose user has an earlier one that is not done waits for that. Rows that failed let the others pass. */
  async function claim(): Promise<Claimed[]> {
    const { rows } = await ask(
      db.execute<Claimed>(sql`
        update outbox set claimed_until = now() + make_interval(secs => ${claimSeconds})
        where id in (
          select id from outbox candidate
          where done_at is null and (claimed_until is null or claimed_until < now())
            and not exists (
              select from outbox earlier
              where earlier.user_id = candidate.user_id and earlier.id < candidate.id and earlier.done_at is null
            )
          order by claimed_until nulls first, id limit ${batchRows} for update skip locked
        )
        returning id, user_id, session_epoch, created_at, attempts, revoked_at is not null as revoked`)
    )
    return rows.sort((a, b) => a.attempts - b.attempts || Number(BigInt(a.id) - BigInt(b.id)))
  }

  async function endSessions(row: Claimed): Promise<void> {
    if (row.revoked) return
    const call = { trace: newTrace(), timeoutMs: () => askWithinMs }
    const epoch = revokedEpoch(BigInt(row.session_epoch))
    await sessions.deleteUserSessions({ userId: row.user_id, epoch, all: true }, onwards(call))
    await ask(
      db
        .update(outbox)
        .set({ revokedAt: sql`now()`, attempts: 0 })
        .where(eq(outbox.id, BigInt(row.id)))
    )
  }

  async function publish(row: Claimed): Promise<void> {
    await events?.userDeleted({ userId: row.user_id, deletedAt: new Date(row.created_at) })
    await ask(
      db
        .update(outbox)
        .set({ doneAt: sql`now()`, attempts: 0 })
        .where(eq(outbox.id, BigInt(row.id)))
    )
    log.info(
      { event: 'user_deletion_completed', userId: row.user_id },
      'everything that follows from a deletion is done'
    )
  }

  /** Sessions first, of all rows: no revocation waits for Kafka. @returns whether there was anything to do */
  async function round(): Promise<boolean> {
    const rows = await claim()
    const unfinished = new Set(rows)
    const failed: Claimed[] = []
    const ended: Claimed[] = []
    const endsAt = performance.now() + endSessionsWithinMs
    for (const row of rows) {
      if (performance.now() > endsAt) break
      const failure = await failureOf(endSessions(row), row, 'session-svc')
      if (failure === undefined) ended.push(row)
      // An outage is no fault of the row, and sessions should end as soon as it is over.
      else if (failure !== Code.Unavailable && failure !== Code.DeadlineExceeded) failed.push(row)
    }
    for (const row of ended) {
      if ((await failureOf(publish(row), row, 'kafka')) !== undefined) {
        failed.push(row)
        break
      }
      unfinished.delete(row)
    }
    for (const row of failed) unfinished.delete(row)
    if (failed.length > 0) await backOff(failed)
    if (unfinished.size > 0) await release([...unfinished])
    return rows.length > 0
  }

  async function failureOf(work: Promise<void>, row: Claimed, dependency: string): Promise<Code | undefined> {
    return work.then(
      () => undefined,
      (error) => {
        const { code } = toConnectError(error)
        logFailure(error, code, row, dependency)
        return code
      }
    )
  }

  /** The rows may be claimed again soon. */
  async function release(rows: Claimed[]): Promise<void> {
    const claimedUntil = sql`now() + make_interval(secs => ${retrySeconds})`
    await ask(
      db
        .update(outbox)
        .set({ claimedUntil })
        .where(inArray(outbox.id, idsOf(rows)))
    )
  }

  async function backOff(rows: Claimed[]): Promise<void> {
    const seconds = sql`least(${maxBackoffSeconds}, ${retrySeconds} * power(2, least(attempts, 30)))`
    const next = { attempts: sql`attempts + 1`, claimedUntil: sql`now() + make_interval(secs => ${seconds})` }
    await ask(
      db
        .update(outbox)
        .set(next)
        .where(inArray(outbox.id, idsOf(rows)))
    )
  }

  /** At most one line a minute for each dependency and code. */
  function logFailure(error: unknown, code: Code, row: Claimed, dependency: string): void {
    const kind = `${dependency} ${code}`
    const logged = loggedFailures.get(kind)
    if (logged && performance.now() - logged.at < logEveryMs) {
      logged.unlogged += 1
      return
    }
    const { user_id: userId, attempts } = row
    const [reason, count] = [`attempt ${attempts + 1}`, 1 + (logged?.unlogged ?? 0)]
    const fields = { dependency, code: codeName(code), userId, reason, count }
    log.warn({ event: 'outbox_delayed', ...fields, err: error }, 'an attempt to finish a deletion failed')
    loggedFailures.set(kind, { at: performance.now(), unlogged: 0 })
  }

  /** Counts what waits, and forgets what has long been done. */
  async function housekeep(): Promise<void> {
    if (performance.now() - countedAt < countEveryMs) return
    const { rows } = await ask(
      db.execute<{ pending: string; failing: string }>(sql`
        select count(*) as pending, count(*) filter (where attempts >= ${failingAfter}) as failing
        from outbox where done_at is null`)
    )
    pending.set(Number(rows[0]?.pending))
    failing.set(Number(rows[0]?.failing))
    await ask(db.delete(outbox).where(sql`done_at < now() - make_interval(days => ${forgetAfterDays})`))
    countedAt = performance.now()
  }

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      let any = false
      try {
        any = await round()
        if (any) countedAt = Number.NEGATIVE_INFINITY
        await housekeep()
      } catch (error) {
        // The database is away or not migrated yet, which its own probe tells.
        log.debug({ event: 'outbox_failed', err: error }, 'the outbox cannot be read')
      }
      await sleep(pollMs, undefined, { signal: stop.signal }).catch(() => {})
    }
  }

  const running = run()
  return {
    async close() {
      stop.abort()
      await withinMs(closeWithinMs, running).catch(() => {})
      await events?.close()
    }
  }
}

const idsOf = (rows: Claimed[]) => rows.map(({ id }) => BigInt(id))
