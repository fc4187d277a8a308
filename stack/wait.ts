/** Waiting for something that another process does. */

import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Tries `probe` again and again until it succeeds.
 *
 * @param timeoutMs after this the last error of `probe` is thrown
 * @param probe one that has not settled after two seconds counts as failed
 */
export async function waitUntil<T>(probe: () => Promise<T>, timeoutMs: number, signal?: AbortSignal): Promise<T> {
  const giveUpAt = performance.now() + timeoutMs
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await within(2000, probe())
    } catch (error) {
      if (performance.now() > giveUpAt) throw error
    }
    await sleep(50, undefined, signal ? { signal } : {})
  }
}

async function within<T>(timeoutMs: number, result: Promise<T>): Promise<T> {
  const timer = new AbortController()
  const late = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error('no answer')
  })
  late.catch(() => {})
  try {
    return await Promise.race([result, late])
  } finally {
    timer.abort()
  }
}
