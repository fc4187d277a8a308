/** Retention of the log in the disk buffer, without Kafka. */

import { rmSync, statSync } from 'node:fs'
import type { Lease } from '#common/process/directory-lease.ts'
import { listSegments } from './layout.ts'
import type { Source } from './source.ts'

/**
 * Removes the oldest segments of all sources until the others fit into `maxBytes`. The segment that this process writes
 * stays. A source of a process that has ended is removed with its last segment.
 */
export function removeOldest(own: Source, adopted: Map<Source, Lease>, maxBytes: number): void {
  const sources = () => [own, ...adopted.keys()]
  const heldBytes = () => sources().reduce((sum, source) => sum + source.bytes(), 0)
  while (heldBytes() > maxBytes) {
    const oldestOfEach = sources().flatMap((source) => oldestSegment(source, source === own))
    const [oldest] = oldestOfEach.sort((a, b) => a.writtenAt - b.writtenAt)
    if (oldest === undefined) return
    rmSync(oldest.path, { force: true })
    if (oldest.isLast && adopted.delete(oldest.source)) oldest.source.remove()
  }
}

function oldestSegment(source: Source, keepsLast: boolean) {
  const [oldest, following] = listSegments(source.directory)
  if (oldest === undefined || (keepsLast && following === undefined)) return []
  const writtenAt = statSync(oldest.path, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return [{ source, path: oldest.path, isLast: following === undefined, writtenAt }]
}
