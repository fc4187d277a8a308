/** Reads the lines of a source in order, from one segment to the next. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type Batch, linesIn } from './batch.ts'
import { listSegments, type Segment, type Shipped } from './layout.ts'

const lineEnd = 0x0a

/** @param onTorn called for a partial line at the end of a segment */
export function createSegmentReader(directory: string, start: Shipped, onTorn: () => void) {
  let { position, segment, offset } = start
  let fd: number | undefined

  function next(buffer: Buffer): Batch | undefined {
    for (;;) {
      if (fd === undefined && !openSegment()) return undefined
      const batch = read(buffer)
      if (batch !== undefined) return batch
      const following = listSegments(directory).find(({ first }) => first > segment)
      if (following === undefined) return undefined
      // Another segment means that this one is complete, but lines may have been appended since it was read.
      const last = read(buffer)
      if (last !== undefined) return last
      skipTorn()
      skipTo(following)
    }
  }

  /** Opens the segment of the next line or, if that has been removed or shipped, the following one. */
  function openSegment(): boolean {
    const segments = listSegments(directory)
    const found = segments.find(({ first }) => first === segment) ?? segments.find(({ first }) => first > position)
    if (found === undefined) return false
    if (found.first !== segment) skipTo(found)
    fd = openSync(found.path, 'r')
    return true
  }

  function read(buffer: Buffer): Batch | undefined {
    const length = readSync(fd as number, buffer, 0, buffer.length, offset)
    const end = buffer.subarray(0, length).lastIndexOf(lineEnd)
    if (end < 0) {
      // Lines are shorter than the buffer: these bytes are the remains of a disk failure.
      if (length === buffer.length) offset += length
      return undefined
    }
    const bytes = buffer.subarray(0, end + 1)
    const batch = { position: position + 1, count: linesIn(bytes), bytes }
    position += batch.count
    offset += bytes.length
    return batch
  }

  /** Counts a partial line at the end of the segment, once. @returns whether there was one */
  function skipTorn(): boolean {
    const size = fd === undefined ? offset : fstatSync(fd).size
    if (size <= offset) return false
    offset = size
    onTorn()
    return true
  }

  /** Continues with the first line of a segment. */
  function skipTo({ first }: Segment): void {
    close()
    position = first - 1
    segment = first
    offset = 0
  }

  function close(): void {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }

  return {
    /** Reads the next lines into `buffer`; undefined if there are none at present. */
    next,
    skipTo,
    /** The position behind the lines that were read, and its place in the segments. */
    position: (): Omit<Shipped, 'partition'> => ({ position, segment, offset }),
    skipTorn,
    close
  }
}
