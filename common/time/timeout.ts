/** A limit in milliseconds for work that has none of its own. */

import { type Clock, systemClock } from './clock.ts'

/** The limit has passed; the outcome of the work is unknown. */
export class TimeoutError extends Error {
  override name = 'TimeoutError'
}

/** Settles as `work` does, or rejects with a TimeoutError after `ms` milliseconds; a late result is dropped. */
export async function withinMs<T>(ms: number, work: PromiseLike<T>, clock: Clock = systemClock): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>()
  // After a stall of this process, its timers run before it reads its sockets, where the result may be.
  const cancel = clock.startTimer(ms, () => setImmediate(() => reject(new TimeoutError(`timed out after ${ms} ms`))))
  try {
    return await Promise.race([work, timeout])
  } finally {
    cancel()
  }
}
