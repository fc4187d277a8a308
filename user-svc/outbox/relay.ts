/**
 * The outbox relay: ends the sessions of each row and publishes its event, whatever crashes meanwhile: at least once, and
 * in order for each user. Any number of relays may run, because a row is leased to one of them.
 */

import { Code } from '@connectrpc/connect'
import type { Gauge } from '@prometheus-io/client'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import { type AccountEvent, RejectedEventError } from './account-events.ts'
import { createFailureLog } from './failure-log.ts'
import type { OutboxRow, OutboxRows } from './outbox-rows.ts'

export interface RelayParts {
  rows: OutboxRows
  /** The types of rows that this relay processes. */
  types: string[]
  /** Ends the sessions of a row. After a crash or a lost response, the call is repeated. */
  endSessions(row: OutboxRow): Promise<void>
  /** The event of a row. @throws if the row is malformed */
  encode(row: OutboxRow): AccountEvent
  /** Publishes what `encode` has returned, in this order. After a crash or a lost response, the call is repeated. */
  publish(events: AccountEvent[]): Promise<void>
  pending: Gauge
  failing: Gauge
  log: Logger
  clock?: Clock
}

const pollMs = 500
const housekeepingMs = 5000
const closeTimeoutMs = 2000
// Shorter than the lease, so that the relay still holds the rows when it records the results.
const endSessionsTimeoutMs = 15_000
const concurrentRevocations = 8

interface Delivery {
  row: OutboxRow
  event: AccountEvent
}

/** Rows by the result of a step. Failed rows back off; rows in neither list are released at once. */
interface StepResult {
  succeeded: OutboxRow[]
  failed: OutboxRow[]
}

/** The steps of the relay, without the loops. */
export function createRelay(parts: RelayParts) {
  const { rows, types, pending, failing, log, clock = systemClock } = parts
  const logFailure = createFailureLog(log, clock)

  /** @returns nothing, or the code of the failure */
  async function attempt(row: OutboxRow, dependency: string, step: () => Promise<void>): Promise<Code | undefined> {
    try {
      await step()
      return undefined
    } catch (error) {
      const { code } = toConnectError(error)
      logFailure({ dependency, code, row, error })
      return code
    }
  }

  /** Ends the sessions of all rows that wait for it, also while no event can be published. @returns the number of successes */
  async function revoke(): Promise<number> {
    const claimed = await rows.claimRevocations(types)
    const revoked: OutboxRow[] = []
    const failed: OutboxRow[] = []
    const endsAt = clock.now() + endSessionsTimeoutMs
    const waiting = claimed.values()
    async function work(): Promise<void> {
      for (const row of waiting) {
        if (clock.now() > endsAt) return
        const code = await attempt(row, 'session-svc', () => parts.endSessions(row))
        if (code === undefined) revoked.push(row)
        // After an outage sessions end as soon as possible, so only a failure of the row itself backs off.
        else if (code !== Code.Unavailable && code !== Code.DeadlineExceeded) failed.push(row)
      }
    }
    await Promise.all(Array.from({ length: concurrentRevocations }, work))
    await settle(claimed, { succeeded: revoked, failed }, rows.markRevoked)
    return revoked.length
  }

  /** Publishes a batch of events. @returns the number of successes */
  async function deliver(): Promise<number> {
    const claimed = await rows.claimDeliveries(types)
    const result: StepResult = { succeeded: [], failed: [] }
    const batch: Delivery[] = []
    for (const row of claimed) {
      const code = await attempt(row, 'outbox', async () => void batch.push({ row, event: parts.encode(row) }))
      if (code !== undefined) result.failed.push(row)
    }
    await publish(batch, result)
    await settle(claimed, result, rows.markDone)
    for (const { userId } of result.succeeded.filter(({ type }) => type === 'user.deleted')) {
      log.info({ event: 'user_deletion_completed', userId }, 'processed a user deletion')
    }
    return result.succeeded.length
  }

  /** A batch that the brokers reject is halved until only the rejected event fails. @returns whether the brokers work */
  async function publish(batch: Delivery[], result: StepResult): Promise<boolean> {
    const [first] = batch
    if (first === undefined) return true
    try {
      await parts.publish(batch.map(({ event }) => event))
      result.succeeded.push(...batch.map(({ row }) => row))
      return true
    } catch (error) {
      const isRejected = error instanceof RejectedEventError
      if (isRejected && batch.length > 1) {
        const half = Math.ceil(batch.length / 2)
        return (await publish(batch.slice(0, half), result)) && publish(batch.slice(half), result)
      }
      // During an outage, the first row shows it; the others are tried again after a second.
      logFailure({ dependency: 'kafka', code: toConnectError(error).code, row: first.row, error })
      result.failed.push(first.row)
      return isRejected
    }
  }

  /** Records the results of a step; rows that neither succeeded nor failed are released. */
  async function settle(
    claimed: OutboxRow[],
    { succeeded, failed }: StepResult,
    markSucceeded: (rows: OutboxRow[]) => Promise<void>
  ): Promise<void> {
    await markSucceeded(succeeded)
    const settled = new Set([...succeeded, ...failed])
    await rows.backOff(failed)
    await rows.release(claimed.filter((row) => !settled.has(row)))
  }

  return {
    revoke,
    deliver,

    /** Updates the metrics and deletes rows that were done long ago. */
    async housekeep(): Promise<void> {
      const counts = await rows.count()
      pending.set(counts.pending)
      failing.set(counts.failing)
      await rows.deleteExpired()
    }
  }
}

/** Runs a relay until it is closed. Each step has a loop of its own, so that sessions end while Kafka does not respond. */
export function startRelay(parts: RelayParts) {
  const { log, clock = systemClock } = parts
  const { revoke, deliver, housekeep } = createRelay(parts)
  const stopping = new AbortController()

  /** Repeats a step: at once after a success, otherwise after a pause. */
  async function repeat(pauseMs: number, step: () => Promise<number>): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if ((await step()) > 0) continue
      } catch (error) {
        // The database is down or not migrated yet, which its probe reports.
        log.debug({ event: 'outbox_failed', err: error }, 'failed to process the outbox')
      }
      await clock.sleep(pauseMs, stopping.signal).catch(() => {})
    }
  }

  const running = Promise.all([
    repeat(pollMs, revoke),
    repeat(pollMs, deliver),
    repeat(housekeepingMs, async () => {
      await housekeep()
      return 0
    })
  ])
  return {
    /** Ends after the in-flight steps, or after two seconds: another relay then finishes the rows when the lease ends. */
    async close(): Promise<void> {
      stopping.abort()
      await withinMs(closeTimeoutMs, running).catch(() => {})
    }
  }
}
