/**
 * The outbox relay: processes rows until every step of their handlers is done, whatever crashes meanwhile: at least once,
 * and in order for each user. Any number of relays may run, because a row is leased to one of them.
 */

import { Code } from '@connectrpc/connect'
import type { Gauge } from '@prometheus-io/client'
import { toConnectError } from '#common/errors/driver-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { withinMs } from '#common/time/timeout.ts'
import { createFailureLog } from './failure-log.ts'
import type { OutboxHandler, OutboxHandlers } from './outbox-handler.ts'
import type { OutboxRow, OutboxRows } from './outbox-rows.ts'

export interface RelayParts {
  rows: OutboxRows
  handlers: OutboxHandlers
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

/** Rows by the result of a step. Failed rows back off; rows in neither list are released at once. */
interface StepResult {
  succeeded: OutboxRow[]
  failed: OutboxRow[]
}

/** The steps of the relay, without the loop. */
export function createRelay({ rows, handlers, pending, failing, log, clock = systemClock }: RelayParts) {
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

  async function endSessions(claimed: OutboxRow[]): Promise<StepResult> {
    const result: StepResult = { succeeded: [], failed: [] }
    const endsAt = clock.now() + endSessionsTimeoutMs
    for (const row of claimed) {
      if (clock.now() > endsAt) break
      const code = await attempt(row, 'session-svc', async () => {
        const { endSessions } = handlerOf(row)
        if (row.revokedAt !== null || endSessions === undefined) return
        await endSessions(row)
        await rows.markRevoked(row)
      })
      if (code === undefined) result.succeeded.push(row)
      // After an outage sessions end as soon as possible, so only a failure of the row itself backs off.
      else if (code !== Code.Unavailable && code !== Code.DeadlineExceeded) result.failed.push(row)
    }
    return result
  }

  async function deliver(revoked: OutboxRow[]): Promise<StepResult> {
    const result: StepResult = { succeeded: [], failed: [] }
    const failedDependencies = new Set<string>()
    for (const row of revoked) {
      const handler = handlerOf(row)
      if (failedDependencies.has(handler.dependency)) continue
      const code = await attempt(row, handler.dependency, async () => {
        await handler.deliver(row)
        await rows.markDone(row)
        handler.onDone(row)
      })
      if (code === undefined) result.succeeded.push(row)
      else {
        failedDependencies.add(handler.dependency)
        result.failed.push(row)
      }
    }
    return result
  }

  function handlerOf({ type }: OutboxRow): OutboxHandler {
    const handler = handlers[type]
    if (handler === undefined) throw new TypeError(`no handler for the type ${type}`)
    return handler
  }

  return {
    /** Claims rows and runs their next steps. @returns whether there were any */
    async relayOnce(): Promise<boolean> {
      const claimed = await rows.claim(Object.keys(handlers))
      const revoked = await endSessions(claimed)
      const delivered = await deliver(revoked.succeeded)
      const failed = [...revoked.failed, ...delivered.failed]
      const settled = new Set([...failed, ...delivered.succeeded])
      await rows.backOff(failed)
      await rows.release(claimed.filter((row) => !settled.has(row)))
      return claimed.length > 0
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
        if ((await relay.relayOnce()) || clock.now() >= countAt) {
          await relay.housekeep()
          countAt = clock.now() + countIntervalMs
        }
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
