/** A call to PostgreSQL or Redis: ends at its caller's deadline, and fails with a Connect code. */

import { toConnectError } from '#common/errors/driver-errors.ts'
import { untilAborted } from './deadline.ts'
import { withinMs } from './timeout.ts'

/**
 * Waits for an engine's reply within a limit.
 *
 * @param limit the signal of a call, or milliseconds, which cost less than `AbortSignal.timeout`
 * @param write whether the call may change data, so that a lost reply leaves the outcome unknown
 * @throws ConnectError `unavailable` (not applied) or `deadline_exceeded` (outcome unknown), among others
 */
export async function callEngine<T>(limit: AbortSignal | number, reply: PromiseLike<T>, write = false): Promise<T> {
  try {
    return await (typeof limit === 'number' ? withinMs(limit, reply) : untilAborted(limit, reply))
  } catch (error) {
    throw toConnectError(error, write)
  }
}
