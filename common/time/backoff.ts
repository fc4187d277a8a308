/** The delay before the next attempt: exponential backoff with a cap, and jitter, so that clients do not retry in step. */

/** Milliseconds. */
interface Backoff {
  baseMs: number
  capMs: number
  /** The random share of the delay, from 0 (none) to 1 (full jitter). */
  jitter?: number
}

/** @param failures how many attempts have failed since the last success, this one not counted: 0 gives `baseMs` */
export function backoffMs(failures: number, { baseMs, capMs, jitter = 0.5 }: Backoff): number {
  return Math.min(baseMs * 2 ** failures, capMs) * (1 - jitter * Math.random())
}
