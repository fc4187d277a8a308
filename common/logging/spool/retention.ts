/** Keeps the disk buffer within its limit where it is the place of the log, since Kafka is switched off. */

import type { Ownership } from '#common/process/directory-lease.ts'
import type { Source } from './source.ts'

/**
 * Removes the oldest segments of all sources until the rest fits. The segment that is being written stays, and a source
 * of a process that has ended goes with its last one.
 */
export function retain(own: Source, adopted: Map<Source, Ownership>, maxBytes: number): void {
  const sources = () => [own, ...adopted.keys()]
  const held = () => sources().reduce((sum, source) => sum + source.bytes(), 0)
  const age = (source: Source) => source.oldestAt() ?? Number.POSITIVE_INFINITY
  while (held() > maxBytes) {
    const removed = sources()
      .sort((a, b) => age(a) - age(b))
      .find((source) => source.removeOldest(source === own))
    if (removed === undefined) return
    if (removed !== own && removed.oldestAt() === undefined && adopted.delete(removed)) removed.remove()
  }
}
