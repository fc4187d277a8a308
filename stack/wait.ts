/** Waits for a condition in another process. */

import { setTimeout as sleep } from 'node:timers/promises'
import { withinMs } from '#common/time/timeout.ts'

const pollMs = 50
const attemptTimeoutMs = 2000

/**
 * Repeats `attempt` until it succeeds. An attempt that has not settled after two seconds counts as failed.
 *
 * @param timeoutMs after this time the last error of `attempt` is thrown
 */
export async function waitUntil<T>(attempt: () => Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await withinMs(attemptTimeoutMs, attempt())
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
    }
    await sleep(pollMs, undefined, signal ? { signal } : {})
  }
}
