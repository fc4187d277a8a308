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
  hasFailed: boolean
}

const maxPending = 50_000
const maxInFlight = 64
const writeTimeoutMs = 1000
const retryAfterMs = 1000

export type PendingUses = ReturnType<typeof createPendingUses>

/** @param write writes a use to Redis, over another connection than that of validations */
export function createPendingUses(write: (use: Readonly<Use>) => Promise<unknown>, log: Logger) {
  const pending = new Map<string, Use>()
  /** The next writes, in order. */
  const queued = new Set<Use>()
  /** Uses that wait for the next retry, so that a failed server of a cluster does not delay the uses of the others. */
  const failed = new Set<Use>()
  let inFlight = 0
  let failing = 0
  let isRetryScheduled = false

  async function writeUse(use: Use): Promise<void> {
    const { hash, usedAt } = use
    queued.delete(use)
    inFlight += 1
    try {
      await withinMs(writeTimeoutMs, write(use))
      setFailed(use, false)
      if (pending.get(hash) !== use) return
      if (use.usedAt === usedAt) pending.delete(hash)
      else queued.add(use)
    } catch (error) {
      if (failing === 0) log.warn({ event: 'session_touch_failed', err: error }, 'failed to record the use of sessions')
      if (pending.get(hash) !== use) return
      setFailed(use, true)
      failed.add(use)
      scheduleRetry()
    } finally {
      inFlight -= 1
      // After a failure the next writes wait for the retry or for a success: with Redis down, each would fail.
      if (!use.hasFailed) writeQueued()
    }
  }

  function setFailed(use: Use, hasFailed: boolean): void {
    failing += Number(hasFailed) - Number(use.hasFailed)
    use.hasFailed = hasFailed
  }

  function scheduleRetry(): void {
    if (isRetryScheduled) return
    isRetryScheduled = true
    setTimeout(() => {
      isRetryScheduled = false
      for (const use of failed) queued.add(use)
      failed.clear()
      writeQueued()
    }, retryAfterMs).unref()
  }

  function writeQueued(): void {
    for (const use of queued) {
      if (inFlight >= maxInFlight) return
      void writeUse(use)
    }
  }

  function evictOldest(): void {
    const [oldest] = pending.values()
    if (oldest === undefined) return
    setFailed(oldest, false)
    for (const uses of [queued, failed]) uses.delete(oldest)
    pending.delete(oldest.hash)
  }

  return {
    /** Records a use. If too many are pending, the oldest is dropped. */
    record(userId: string, hash: string, usedAt: number): void {
      const known = pending.get(hash)
      if (known !== undefined) {
        known.usedAt = Math.max(known.usedAt, usedAt)
        return
      }
      if (pending.size >= maxPending) evictOldest()
      const use = { userId, hash, usedAt, hasFailed: false }
      pending.set(hash, use)
      if (inFlight < maxInFlight) void writeUse(use)
      else queued.add(use)
    },

    /** The time of the last use of a session that is not written yet; 0 if there is none. */
    lastUse(hash: string): number {
      return pending.size === 0 ? 0 : (pending.get(hash)?.usedAt ?? 0)
    }
  }
}
