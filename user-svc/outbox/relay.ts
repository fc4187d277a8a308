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
import type { AccountEvent } from './account-events.ts'
import { createFailureLog } from './failure-log.ts'
import { batchRows, type OutboxRow, type OutboxRows } from './outbox-rows.ts'

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
const countIntervalMs = 5000
const closeTimeoutMs = 2000
// Shorter than the lease, so that the relay still holds the rows when it records the results.
const endSessionsTimeoutMs = 15_000
const concurrentRevocations = 8

/** The steps of the relay, without the loop. */
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
    const encoded: { row: OutboxRow; event: AccountEvent }[] = []
    const malformed: OutboxRow[] = []
    const blocked = new Set<string>()
    for (const row of claimed) {
      // A malformed row delays the later events of its user only.
      if (blocked.has(row.userId)) continue
      const code = await attempt(row, 'outbox', async () => void encoded.push({ row, event: parts.encode(row) }))
      if (code === undefined) continue
      malformed.push(row)
      blocked.add(row.userId)
    }
    const [first] = encoded
    const code = first && (await attempt(first.row, 'kafka', () => parts.publish(encoded.map(({ event }) => event))))
    const succeeded = code === undefined ? encoded.map(({ row }) => row) : []
    // The first row shows the outage; the others are tried again after a second.
    const failed = code === undefined || first === undefined ? malformed : [...malformed, first.row]
    await settle(claimed, { succeeded, failed }, rows.markDone)
    for (const { userId } of succeeded.filter(({ type }) => type === 'user.deleted')) {
      log.info({ event: 'user_deletion_completed', userId }, 'processed a user deletion')
    }
    return succeeded.length
  }

  /** Records the results of a step; rows that neither succeeded nor failed are released. */
  async function settle(
    claimed: OutboxRow[],
    { succeeded, failed }: { succeeded: OutboxRow[]; failed: OutboxRow[] },
    markSucceeded: (rows: OutboxRow[]) => Promise<void>
  ): Promise<void> {
    await markSucceeded(succeeded)
    const settled = new Set([...succeeded, ...failed])
    await rows.backOff(failed)
    await rows.release(claimed.filter((row) => !settled.has(row)))
  }

  return {
    /** Runs the next steps of the rows. @returns the number of steps that succeeded */
    async relayOnce(): Promise<number> {
      const revoked = await revoke()
      return revoked + (await deliver())
    },

    /** Updates the metrics and deletes rows that were done long ago. */
    async housekeep(): Promise<void> {
      const counts = await rows.count()
      pending.set(counts.pending)
      failing.set(counts.failing)
      await rows.deleteExpired()
    }
  }
}

/** Runs a relay until it is closed. */
export function startRelay(parts: RelayParts) {
  const { log, clock = systemClock } = parts
  const relay = createRelay(parts)
  const stopping = new AbortController()

  async function run(): Promise<void> {
    let countAt = Number.NEGATIVE_INFINITY
    while (!stopping.signal.aborted) {
      try {
        const succeeded = await relay.relayOnce()
        const isBusy = succeeded >= batchRows
        if ((succeeded > 0 && !isBusy) || clock.now() >= countAt) {
          await relay.housekeep()
          countAt = clock.now() + countIntervalMs
        }
        if (isBusy) continue
      } catch (error) {
        // The database is down or not migrated yet, which its probe reports.
        log.debug({ event: 'outbox_failed', err: error }, 'failed to read the outbox')
      }
      await clock.sleep(pollMs, stopping.signal).catch(() => {})
    }
  }

  const running = run()
  return {
    /** Ends after the in-flight step, or after two seconds: another relay then finishes the row when the lease ends. */
    async close(): Promise<void> {
      stopping.abort()
      await withinMs(closeTimeoutMs, running).catch(() => {})
    }
  }
}
