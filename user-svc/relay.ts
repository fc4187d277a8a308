/**
 * The outbox's relay: finishes what the deletion of an account has begun, whoever crashed meanwhile. The sessions end,
 * other systems are told, and then the row is done: at least once, and for each user in order. Any number of relays
 * may run; what one has claimed the others leave alone until the claim is over.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from '@connectrpc/connect'
import type { Gauge } from '@prometheus-io/client'
import { eq, inArray, isNull, sql } from 'drizzle-orm'
import { toConnectError } from '#common/driver-errors.ts'
import { askEngine } from '#common/engine-call.ts'
import { codeName } from '#common/error-table.ts'
import type { Logger } from '#common/logger.ts'
import { onwards } from '#common/rpc-context.ts'
import { withinMs } from '#common/time-limit.ts'
import { newTrace } from '#common/trace.ts'
import type { SessionService } from '#gen/session/v1/session_pb.ts'
import type { AccountEvents } from './account-events.ts'
import type { Database } from './database.ts'
import { outbox } from './schema.ts'

/** What a relay works with. */
export interface RelayParts {
  db: Database
  sessions: Client<typeof SessionService>
  /** Without brokers there is nobody to tell. */
  events: AccountEvents | undefined
  pending: Gauge
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
}

export function startRelay({ db, sessions, events, pending, log }: RelayParts): Relay {
  const stop = new AbortController()
  let countedAt = Number.NEGATIVE_INFINITY
  let troubles = ''

  const ask = <T>(answer: PromiseLike<T>) => askEngine(AbortSignal.timeout(askWithinMs), answer, true)

  /** A row whose user has an earlier one that is not done waits for that. */
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
          order by id limit ${batchRows} for update skip locked
        )
        returning id, user_id, session_epoch, created_at, revoked_at is not null as revoked`)
    )
    return rows.sort((a, b) => Number(BigInt(a.id) - BigInt(b.id)))
  }

  async function endSessions(row: Claimed): Promise<void> {
    if (row.revoked) return
    const call = { trace: newTrace(), signal: AbortSignal.timeout(askWithinMs), timeoutMs: () => askWithinMs }
    await sessions.deleteUserSessions({ userId: row.user_id, epoch: BigInt(row.session_epoch) }, onwards(call))
    await ask(
      db
        .update(outbox)
        .set({ revokedAt: sql`now()` })
        .where(eq(outbox.id, BigInt(row.id)))
    )
  }

  async function tell(row: Claimed): Promise<void> {
    await events?.userDeleted({ userId: row.user_id, deletedAt: new Date(row.created_at) })
    await ask(
      db
        .update(outbox)
        .set({ doneAt: sql`now()` })
        .where(eq(outbox.id, BigInt(row.id)))
    )
    log.info(
      { event: 'user_deletion_completed', userId: row.user_id },
      'everything that follows from a deletion is done'
    )
  }

  /** Sessions first, of all rows: nobody's log-out waits for Kafka. @returns whether there was anything to do */
  async function round(): Promise<boolean> {
    const rows = await claim()
    const left = new Set(rows)
    const ended: Claimed[] = []
    for (const row of rows) if (await succeeds(endSessions(row), 'session-svc')) ended.push(row)
    for (const row of ended) {
      if (!(await succeeds(tell(row), 'kafka'))) break
      left.delete(row)
    }
    if (left.size > 0) await release([...left])
    return rows.length > 0
  }

  async function succeeds(work: Promise<void>, dependency: string): Promise<boolean> {
    return work.then(
      () => true,
      (error) => {
        noteTrouble(error, dependency)
        return false
      }
    )
  }

  /** Whoever comes next may try again soon. */
  async function release(rows: Claimed[]): Promise<void> {
    const claimedUntil = sql`now() + make_interval(secs => ${retrySeconds})`
    const ids = rows.map(({ id }) => BigInt(id))
    await ask(db.update(outbox).set({ claimedUntil }).where(inArray(outbox.id, ids)))
  }

  /** One line for each kind of trouble, until something succeeds again. */
  function noteTrouble(error: unknown, dependency: string): void {
    const code = codeName(toConnectError(error).code)
    if (troubles.includes(`${dependency} ${code}`)) return
    troubles += `${dependency} ${code};`
    log.warn({ event: 'outbox_delayed', dependency, code, err: error }, 'what follows from a deletion has to wait')
  }

  /** Counts what waits, and forgets what has long been done. */
  async function housekeep(): Promise<void> {
    if (performance.now() - countedAt < countEveryMs) return
    pending.set(await ask(db.$count(outbox, isNull(outbox.doneAt))))
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
        if (!any) troubles = ''
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
