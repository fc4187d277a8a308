/**
 * A least duration of work before a response, so that the time of the response does not show how much there was to do: a statement that
 * finds a row takes longer than one that finds none. It buys 1 to 2 % of the time of a failed login at a hash of 20 ms, and of a request for
 * a reset (`make test-security PARTS=timing,hash-timing`).
 */

import { type Clock, systemClock } from '#common/time/clock.ts'

/** Resolves as `work` does, and not before `ms` milliseconds; rejects as soon as `work` does. */
export async function atLeastMs<T>(ms: number, work: PromiseLike<T>, clock: Clock = systemClock): Promise<T> {
  const [result] = await Promise.all([work, clock.sleep(ms)])
  return result
}
