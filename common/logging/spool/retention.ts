/** Retention of the log in the disk buffer, without Kafka. */

import type { Lease } from '#common/process/directory-lease.ts'
import type { Source } from './source.ts'

/**
 * Removes the oldest segments of all sources until the others fit into `maxBytes`. The segment that this process writes
 * stays. A source of a process that has ended is removed with its last segment.
 */
export function removeOldest(own: Source, adopted: Map<Source, Lease>, maxBytes: number): void {
  const sources = () => [own, ...adopted.keys()]
  const heldBytes = () => sources().reduce((sum, source) => sum + source.bytes(), 0)
  const age = (source: Source) => source.oldestAt() ?? Number.POSITIVE_INFINITY
  while (heldBytes() > maxBytes) {
    const oldestFirst = sources().sort((a, b) => age(a) - age(b))
    const removed = oldestFirst.find((source) => source.removeOldest(source === own))
    if (removed === undefined) return
    if (removed !== own && removed.oldestAt() === undefined && adopted.delete(removed)) removed.remove()
  }
}
