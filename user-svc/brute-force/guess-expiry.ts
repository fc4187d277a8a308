/** Deletes the counts of wrong passwords that have expired. */

import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import type { GuessRows } from './guess-rows.ts'

const expiryIntervalMs = 60_000

/** Deletes the counts of addresses without a recent guess, now and every minute, until it is stopped. */
export function keepDeletingExpired(rows: Pick<GuessRows, 'deleteExpired'>, log: Logger, clock: Clock = systemClock) {
  const stopping = new AbortController()

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await rows.deleteExpired().catch((error) => {
        // The database is down or not migrated yet, which its probe reports.
        log.debug({ event: 'guess_counts_failed', err: error }, 'failed to delete expired counts of wrong passwords')
      })
      await clock.sleep(expiryIntervalMs, stopping.signal, true).catch(() => {})
    }
  }

  const running = run()
  return {
    async stop(): Promise<void> {
      stopping.abort()
      await running
    }
  }
}
