/** The reading end of the disk buffer: the lines of one source, in order, from where shipping stopped. */

import { closeSync, fstatSync, openSync, readSync, rmSync, statSync } from 'node:fs'
import { type Batch, linesIn } from './batch.ts'
import { listSegments, readShipped, type Segment, type Shipped, shippedNote } from './layout.ts'
import type { DropReason } from './spool.ts'

/** A source that is being shipped. */
export interface Source {
  /** `<service>/<instance>` */
  name: string
  directory: string
  /** The partition that its lines go to, or -1 as long as none is chosen. */
  partition(): number
  /** The next lines, read into `buffer`, or nothing for now. */
  next(buffer: Buffer): Batch | undefined
  /** Notes that the brokers have what was read, and removes the segments that are done with. */
  acknowledge(partition: number): void
  /** The bytes that it takes on the disk. */
  bytes(): number
  /** Drops the oldest segment, unless that is the last one. @returns whether there was one */
  dropOldest(): boolean
  /** When the oldest segment was last written, in ms since 1970; nothing if there is no segment. */
  oldestAt(): number | undefined
  /** Removes the oldest segment, whose lines do not count as dropped. @returns whether there was one, beside the last */
  removeOldest(keepsLast: boolean): boolean
  close(): void
  /** Removes a source that nobody writes to any more and that has no next line; half a line at its end is dropped. */
  remove(): void
}

const lineEnd = 0x0a

/** Opens a source where shipping stopped; `dropped` is told of lines that can never be shipped. */
export function openSource(
  name: string,
  directory: string,
  dropped: (count: number, reason: DropReason) => void
): Source {
  const note = shippedNote(directory)
  /** How far it has been read, which is a batch ahead of what has been shipped. */
  let cursor: Shipped = readShipped(directory)
  /** The segment that the cursor is in. */
  let fd: number | undefined
  let passedSegments = true

  function next(buffer: Buffer): Batch | undefined {
    for (;;) {
      if (fd === undefined && !openSegment()) return undefined
      const batch = read(buffer)
      if (batch !== undefined) return batch
      if (!listSegments(directory).some(({ first }) => first > cursor.segment)) return undefined
      // Now that there is another segment this one is complete, but lines may have come to it since it was read.
      const last = read(buffer)
      if (last !== undefined) return last
      leaveSegment()
    }
  }

  /** Goes to the segment of the cursor or, if that is gone or done with, to the next one. */
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
      // No line is as long as the buffer: this is what a failing disk leaves.
      if (length === buffer.length) cursor = { ...cursor, offset: cursor.offset + length }
      return undefined
    }
    const bytes = buffer.subarray(0, end + 1)
    const count = linesIn(bytes)
    const batch = { position: cursor.position + 1, count, bytes }
    cursor = { ...cursor, position: cursor.position + count, offset: cursor.offset + bytes.length }
    return batch
  }

  function leaveSegment(): void {
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
    note.close()
  }

  return {
    name,
    directory,
    partition: () => cursor.partition,
    next,
    acknowledge(partition) {
      cursor = { ...cursor, partition }
      note.write(cursor)
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
