/** Sends a batch of reads in as few commands as Redis accepts: one, or on a cluster one for each slot. */

import type { Redis } from '#common/redis/connection.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { withinMs } from '#common/time/timeout.ts'

// Hundreds of times the duration of a read. A server that does not respond for so long is soon known to be down.
const slotTimeoutMs = 500

/**
 * Reads many items, each from the server that has its key. On a cluster, the result of an item whose server is down or
 * unresponsive is `missing`.
 *
 * @param read reads items whose keys are in one slot
 * @throws the last error if no slot could be read
 */
export async function batchBySlot<T, R>(
  { slotOf }: Pick<Redis, 'slotOf'>,
  items: T[],
  keyOf: (item: T) => string,
  read: (items: T[]) => Promise<R[]>,
  missing: R
): Promise<R[]> {
  if (slotOf === undefined) return read(items)
  const slots = [...Map.groupBy(items.keys(), (index) => slotOf(keyOf(items[index] as T))).values()]
  const results = items.map(() => missing)
  let succeeded = 0
  let failure: unknown = deadlineExceeded()

  async function readSlot(indexes: number[]): Promise<void> {
    try {
      const own = await read(indexes.map((index) => items[index] as T))
      for (const [place, result] of own.entries()) results[indexes[place] as number] = result
      succeeded += 1
    } catch (error) {
      failure = error
    }
  }

  // One timer for all slots: a timer for each would cost more than the command.
  await withinMs(slotTimeoutMs, Promise.all(slots.map(readSlot))).catch(() => {})
  if (succeeded === 0 && slots.length > 0) throw failure
  // A copy, which late replies do not change.
  return [...results]
}
