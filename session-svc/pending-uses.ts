/**
 * Uses of sessions, recorded beside the validations that found them: no validation waits for a write. A use that cannot
 * be written counts here until it can be, so that a session in use does not end while Redis refuses writes.
 */

import type { Logger } from '#common/logging/logger.ts'
import { withinMs } from '#common/time/timeout.ts'

interface Use {
  userId: string
  hash: string
  /** By the clock of Redis, in milliseconds. */
  usedAt: number
  isWriting: boolean
}

const maxPending = 50_000
const maxInFlight = 64
const answerWithinMs = 1000
const retryAfterMs = 1000

/** @param write writes a use; it must not go through the connection that validations use */
export function createPendingUses(write: (use: Readonly<Use>) => Promise<unknown>, log: Logger) {
  const pending = new Map<string, Use>()
  let inFlight = 0
  let isFailing = false
  let isRetrying = false

  async function attempt(use: Use): Promise<void> {
    const { hash, usedAt } = use
    use.isWriting = true
    inFlight += 1
    try {
      await withinMs(answerWithinMs, write(use))
      isFailing = false
      if (use.usedAt === usedAt) pending.delete(hash)
    } catch (error) {
      if (!isFailing) log.warn({ event: 'session_touch_failed', err: error }, 'failed to record the use of sessions')
      isFailing = true
      // Behind the others: one server of a cluster holds up no other.
      if (pending.delete(hash)) pending.set(hash, use)
    } finally {
      use.isWriting = false
      inFlight -= 1
      if (!isFailing) writePending()
      else retryLater()
    }
  }

  function retryLater(): void {
    if (isRetrying || pending.size === 0) return
    isRetrying = true
    setTimeout(() => {
      isRetrying = false
      writePending()
    }, retryAfterMs).unref()
  }

  function writePending(): void {
    const waiting: Use[] = []
    for (const use of pending.values()) {
      if (waiting.length >= maxInFlight - inFlight) break
      if (!use.isWriting) waiting.push(use)
    }
    for (const use of waiting) void attempt(use)
  }

  return {
    record(userId: string, hash: string, usedAt: number): void {
      const known = pending.get(hash)
      if (known !== undefined) {
        known.usedAt = Math.max(known.usedAt, usedAt)
        return
      }
      if (pending.size >= maxPending) pending.delete(pending.keys().next().value as string)
      const use = { userId, hash, usedAt, isWriting: false }
      pending.set(hash, use)
      if (inFlight < maxInFlight) void attempt(use)
    },

    /** The last use that is not written yet; 0 if all are. */
    lastUse(hash: string): number {
      return pending.size === 0 ? 0 : (pending.get(hash)?.usedAt ?? 0)
    }
  }
}
