/** The reading end of the disk buffer: the lines of one source, in order, from its shipping position. */

import { readFileSync, rmSync, statSync } from 'node:fs'
import { type Batch, linesIn } from './batch.ts'
import { listSegments, openShipped, readShipped } from './layout.ts'
import { createSegmentReader } from './segment-reader.ts'
import type { DropReason } from './spool.ts'

/** An open source. */
export interface Source {
  /** `<service>/<instance>` */
  name: string
  directory: string
  /** The partition of its lines; -1: not chosen yet. */
  partition(): number
  /** Reads the next lines into `buffer`; undefined if there are none at present. */
  next(buffer: Buffer): Batch | undefined
  /** Writes the shipping position behind the lines that were read, and removes the segments before it. */
  acknowledge(partition: number): void
  /** Its size on disk. */
  bytes(): number
  /** Drops the oldest segment, unless it is the only one. @returns whether it dropped one */
  dropOldest(): boolean
  /** Counts a partial line at the end of a complete source as dropped, and moves the shipping position behind it. */
  skipTorn(): void
  close(): void
  /** Removes the directory of an ended source that has no next line; a partial line at its end is dropped. */
  remove(): void
}

/** Opens a source at its shipping position. @param dropped called for lines that can never be shipped */
export function openSource(
  name: string,
  directory: string,
  dropped: (count: number, reason: DropReason) => void
): Source {
  const shippedFile = openShipped(directory)
  const shipped = readShipped(directory)
  const reader = createSegmentReader(directory, shipped, () => dropped(1, 'torn'))
  let { partition } = shipped
  /** The segments before this one are removed. */
  let oldestKept = -1

  function removeShipped(): void {
    const { segment } = reader.position()
    if (segment === oldestKept) return
    for (const { first, path } of listSegments(directory)) if (first < segment) rmSync(path, { force: true })
    oldestKept = segment
  }

  function dropOldest(): boolean {
    const [oldest, following] = listSegments(directory)
    if (oldest === undefined || following === undefined) return false
    const { segment, offset } = reader.position()
    const from = oldest.first === segment ? offset : 0
    const lost = oldest.first < segment ? 0 : linesIn(readFileSync(oldest.path).subarray(from))
    if (oldest.first >= segment) reader.skipTo(following)
    rmSync(oldest.path, { force: true })
    if (lost > 0) dropped(lost, 'spool_full')
    return true
  }

  function close(): void {
    reader.close()
    shippedFile.close()
  }

  return {
    name,
    directory,
    partition: () => partition,
    next: reader.next,
    acknowledge(chosen) {
      partition = chosen
      shippedFile.write({ ...reader.position(), partition })
      removeShipped()
    },
    bytes: () => listSegments(directory).reduce((sum, { path }) => sum + sizeOf(path), 0),
    dropOldest,
    skipTorn() {
      if (reader.skipTorn()) shippedFile.write({ ...reader.position(), partition })
    },
    close,
    remove() {
      reader.skipTorn()
      close()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
