/** Waiting for a condition in a test: no test sleeps for a fixed time and hopes. */

import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 20

/**
 * Waits until `holds` returns true.
 *
 * @param what names the condition in the error
 * @param timeoutMs long enough for a busy machine
 * @returns how long the condition took, in milliseconds
 * @throws Error if the condition does not hold within `timeoutMs`
 */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  timeoutMs = 30_000
): Promise<number> {
  const startedAt = performance.now()
  while (!(await holds())) {
    if (performance.now() - startedAt > timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await sleep(pollMs)
  }
  return performance.now() - startedAt
}
