/** The reading end of the disk buffer: the lines of one source, in order, from its shipping position. */

import { closeSync, fstatSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { type Batch, linesIn } from './batch.ts'
import { listSegments, openShipped, readShipped, type Segment, type Shipped } from './layout.ts'
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
  /** When the oldest segment was last written, in milliseconds since 1970; undefined without a segment. */
  oldestAt(): number | undefined
  /** Removes the oldest segment; its lines do not count as dropped. @returns whether it removed one */
  removeOldest(keepsLast: boolean): boolean
  close(): void
  /** Removes the directory of an ended source that has no next line; a partial line at its end is dropped. */
  remove(): void
}

const lineEnd = 0x0a

/** Opens a source at its shipping position. @param dropped called for lines that can never be shipped */
export function openSource(
  name: string,
  directory: string,
  dropped: (count: number, reason: DropReason) => void
): Source {
  const shippedFile = openShipped(directory)
  /** The position of reading, a batch ahead of the shipping position. */
  let cursor: Shipped = readShipped(directory)
  /** The segment of the cursor. */
  let fd: number | undefined
  let passedSegments = true

  function next(buffer: Buffer): Batch | undefined {
    for (;;) {
      if (fd === undefined && !openSegment()) return undefined
      const batch = read(buffer)
      if (batch !== undefined) return batch
      if (!listSegments(directory).some(({ first }) => first > cursor.segment)) return undefined
      // Another segment means that this one is complete, but lines may have been appended since it was read.
      const last = read(buffer)
      if (last !== undefined) return last
      closeReadSegment()
    }
  }

  /** Opens the segment of the cursor or, if that has been removed or shipped, the next one. */
  function openSegment(): boolean {
    const segments = listSegments(directory)
    const segment =
      segments.find(({ first }) => first === cursor.segment) ?? segments.find(({ first }) => first > cursor.position)
    if (segment === undefined) return false
    if (segment.first !== cursor.segment) enter(segment)
    fd = openSync(segment.path, 'r')
    return true
  }

  function enter({ first }: Segment): void {
    cursor = { ...cursor, position: first - 1, segment: first, offset: 0 }
    passedSegments = true
  }

  function read(buffer: Buffer): Batch | undefined {
    const length = readSync(fd as number, buffer, 0, buffer.length, cursor.offset)
    const end = buffer.subarray(0, length).lastIndexOf(lineEnd)
    if (end < 0) {
      // Lines are shorter than the buffer: these bytes are the remains of a disk failure.
      if (length === buffer.length) cursor = { ...cursor, offset: cursor.offset + length }
      return undefined
    }
    const bytes = buffer.subarray(0, end + 1)
    const count = linesIn(bytes)
    const batch = { position: cursor.position + 1, count, bytes }
    cursor = { ...cursor, position: cursor.position + count, offset: cursor.offset + bytes.length }
    return batch
  }

  function closeReadSegment(): void {
    dropTorn()
    closeSegment()
    const following = listSegments(directory).find(({ first }) => first > cursor.segment)
    if (following !== undefined) enter(following)
  }

  function dropTorn(): void {
    if (fd !== undefined && fstatSync(fd).size > cursor.offset) dropped(1, 'torn')
  }

  function closeSegment(): void {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }

  function removeSegment({ path }: Segment): void {
    rmSync(path, { force: true })
  }

  function dropOldest(): boolean {
    const [oldest, following] = listSegments(directory)
    if (oldest === undefined || following === undefined) return false
    const from = oldest.first === cursor.segment ? cursor.offset : 0
    const lost = oldest.first < cursor.segment ? 0 : countLines(oldest.path, from)
    if (oldest.first >= cursor.segment) {
      closeSegment()
      enter(following)
    }
    removeSegment(oldest)
    if (lost > 0) dropped(lost, 'spool_full')
    return true
  }

  function close(): void {
    closeSegment()
    shippedFile.close()
  }

  return {
    name,
    directory,
    partition: () => cursor.partition,
    next,
    acknowledge(partition) {
      cursor = { ...cursor, partition }
      shippedFile.write(cursor)
      if (passedSegments)
        for (const each of listSegments(directory)) if (each.first < cursor.segment) removeSegment(each)
      passedSegments = false
    },
    bytes: () => listSegments(directory).reduce((sum, { path }) => sum + sizeOf(path), 0),
    dropOldest,
    oldestAt() {
      const [oldest] = listSegments(directory)
      return oldest && statSync(oldest.path, { throwIfNoEntry: false })?.mtimeMs
    },
    removeOldest(keepsLast) {
      const [oldest, following] = listSegments(directory)
      if (oldest === undefined || (keepsLast && following === undefined)) return false
      if (oldest.first === cursor.segment) closeSegment()
      removeSegment(oldest)
      return true
    },
    close,
    remove() {
      dropTorn()
      close()
      rmSync(directory, { recursive: true, force: true })
    }
  }
}

function countLines(path: string, from: number): number {
  const fd = openSync(path, 'r')
  try {
    const buffer = Buffer.allocUnsafe(2 ** 20)
    let count = 0
    let offset = from
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, offset)
      if (length === 0) return count
      count += linesIn(buffer.subarray(0, length))
      offset += length
    }
  } finally {
    closeSync(fd)
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
