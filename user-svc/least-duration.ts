/**
 * A least duration of work before a response, so that the time of the response does not show how much there was to do: a statement takes
 * longer with a row, or with a large one, than without. It hides 0.2 to 0.4 ms of a failed login (2 % with a hash of 20 ms, AUC 0.57 to 0.59) and
 * 0.03 to 0.07 ms of a request for a reset (2 %), unless the work takes longer (`make test-security PARTS=timing,hash-timing`).
 */

import { type Clock, systemClock } from '#common/time/clock.ts'

/** Resolves as `work` does, and not before `ms` milliseconds; rejects as soon as `work` does. */
export async function atLeastMs<T>(ms: number, work: PromiseLike<T>, clock: Clock = systemClock): Promise<T> {
  const [result] = await Promise.all([work, clock.sleep(ms)])
  return result
}
