/**
 * Uses of sessions that are not yet written to Redis. No validation waits for the write of a use. A use that cannot be
 * written still counts on this instance, so that a session in use does not end while Redis refuses writes.
 */

import type { Logger } from '#common/logging/logger.ts'
import { withinMs } from '#common/time/timeout.ts'

interface Use {
  userId: string
  hash: string
  /** By the clock of Redis, in milliseconds. */
  usedAt: number
  isInFlight: boolean
}

const maxPending = 50_000
const maxInFlight = 64
const writeTimeoutMs = 1000
const retryAfterMs = 1000

export type PendingUses = ReturnType<typeof createPendingUses>

/** @param write writes a use to Redis, over another connection than that of validations */
export function createPendingUses(write: (use: Readonly<Use>) => Promise<unknown>, log: Logger) {
  // In the order in which they are written.
  const pending = new Map<string, Use>()
  let inFlight = 0
  let isFailing = false
  let isRetryScheduled = false

  async function writeUse(use: Use): Promise<void> {
    const { hash, usedAt } = use
    use.isInFlight = true
    inFlight += 1
    try {
      await withinMs(writeTimeoutMs, write(use))
      isFailing = false
      if (use.usedAt === usedAt) pending.delete(hash)
    } catch (error) {
      if (!isFailing) log.warn({ event: 'session_touch_failed', err: error }, 'failed to record the use of sessions')
      isFailing = true
      // Move it to the end, so that a failed server of a cluster does not delay the uses of the others.
      if (pending.delete(hash)) pending.set(hash, use)
    } finally {
      use.isInFlight = false
      inFlight -= 1
      if (isFailing) scheduleRetry()
      else writePending()
    }
  }

  function scheduleRetry(): void {
    if (isRetryScheduled || pending.size === 0) return
    isRetryScheduled = true
    setTimeout(() => {
      isRetryScheduled = false
      writePending()
    }, retryAfterMs).unref()
  }

  function writePending(): void {
    const next: Use[] = []
    for (const use of pending.values()) {
      if (next.length >= maxInFlight - inFlight) break
      if (!use.isInFlight) next.push(use)
    }
    for (const use of next) void writeUse(use)
  }

  return {
    /** Records a use. If too many are pending, the oldest is dropped. */
    record(userId: string, hash: string, usedAt: number): void {
      const known = pending.get(hash)
      if (known !== undefined) {
        known.usedAt = Math.max(known.usedAt, usedAt)
        return
      }
      if (pending.size >= maxPending) pending.delete(pending.keys().next().value as string)
      const use = { userId, hash, usedAt, isInFlight: false }
      pending.set(hash, use)
      if (inFlight < maxInFlight) void writeUse(use)
    },

    /** The time of the last use of a session that is not written yet; 0 if there is none. */
    lastUse(hash: string): number {
      return pending.size === 0 ? 0 : (pending.get(hash)?.usedAt ?? 0)
    }
  }
}
