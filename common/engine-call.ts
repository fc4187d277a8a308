/** A call to an engine: ends when its caller's time does, and fails with a Connect code. */

import { untilAborted } from './deadline.ts'
import { toConnectError } from './driver-errors.ts'

/**
 * Waits for an engine's answer as long as the signal allows.
 *
 * @param write whether the call may change something, so that a lost answer leaves the outcome unknown
 * @throws ConnectError `unavailable` (certainly not done) or `deadline_exceeded` (outcome unknown), among others
 */
export async function askEngine<T>(signal: AbortSignal, answer: PromiseLike<T>, write = false): Promise<T> {
  try {
    return await untilAborted(signal, answer)
  } catch (error) {
    throw toConnectError(error, write)
  }
}
