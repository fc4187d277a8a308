/** The clock of code that waits: the system's in a service, a manual one in a test. */

import { setTimeout as sleep } from 'node:timers/promises'

export interface Clock {
  /** Milliseconds since any fixed point; the value never decreases. */
  now(): number
  /**
   * Resolves after `ms` milliseconds.
   *
   * @param isBackground whether the process may exit before that
   * @throws AbortError if the signal aborts before that
   */
  sleep(ms: number, signal?: AbortSignal, isBackground?: boolean): Promise<void>
  /** Calls `onTimeout` after `ms` milliseconds. @returns cancels the timer; cheaper than an abort signal */
  startTimer(ms: number, onTimeout: () => void): () => void
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal, isBackground = false) => sleep(ms, undefined, { ...(signal && { signal }), ref: !isBackground }),
  startTimer(ms, onTimeout) {
    const timer = setTimeout(onTimeout, ms)
    return () => clearTimeout(timer)
  }
}
