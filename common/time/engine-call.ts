/** A call to an engine: ends when its caller's time does, and fails with a Connect code. */

import { toConnectError } from '#common/errors/driver-errors.ts'
import { untilAborted } from './deadline.ts'
import { withinMs } from './timeout.ts'

/**
 * Waits for an engine's answer as long as the limit allows.
 *
 * @param limit the signal of a call, or milliseconds: a signal with a timer of its own creates an error when that expires,
 *   long after the answer
 * @param write whether the call may change something, so that a lost answer leaves the outcome unknown
 * @throws ConnectError `unavailable` (certainly not done) or `deadline_exceeded` (outcome unknown), among others
 */
export async function callEngine<T>(limit: AbortSignal | number, answer: PromiseLike<T>, write = false): Promise<T> {
  try {
    return await (typeof limit === 'number' ? withinMs(limit, answer) : untilAborted(limit, answer))
  } catch (error) {
    throw toConnectError(error, write)
  }
}
