/** The clock of code that waits: the system's in a service, one that a test advances in a test. */

import { setTimeout as sleep } from 'node:timers/promises'

export interface Clock {
  /** Milliseconds since any fixed point; the value never decreases. */
  now(): number
  /** Resolves after `ms` milliseconds. @throws AbortError if the signal aborts before that */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, signal && { signal })
}
