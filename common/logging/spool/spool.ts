/** The writing end of the disk buffer: one write for the lines of one turn of the event loop, independent of Kafka. */

import { closeSync, ftruncateSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { segmentPath } from './layout.ts'

/** Why lines were dropped. Lines that are `too_large` for the brokers are in the dead-letter file. */
export type DropReason = 'disk' | 'too_long' | 'too_large' | 'spool_full' | 'torn'

/** The disk buffer of one process. */
export interface Spool {
  /** Takes a line with its line end. It is written when the current turn of the event loop ends. */
  write(line: string): void
  /** Writes all lines. */
  flush(): void
  /** Writes all lines, and closes the segment; a later line opens another one. */
  close(): void
  /** Removes the directory of a closed spool whose lines are shipped; keeps it if a line came after `close`. */
  remove(): void
}

/** The events of a spool. */
export interface SpoolEvents {
  dropped(count: number, reason: DropReason): void
  /** The first error of a disk failure; undefined when the disk works again. */
  disk(error: Error | undefined): void
}

/** Longer lines are dropped, in characters: brokers limit the size of a request. */
const maxLineLength = 65_536
const flushLength = 65_536

/**
 * Opens a spool; the first line creates its directory. A dropped line keeps its position, so that the sinks count it as
 * missing.
 *
 * @param segmentBytes the size at which a segment is closed
 * @param segmentMs the age at which a segment is closed
 */
export function openSpool(
  directory: string,
  segmentBytes: number,
  events: SpoolEvents,
  segmentMs = Number.POSITIVE_INFINITY
): Spool {
  let lines: string[] = []
  let length = 0
  let scheduled = false
  let segment: { fd: number; size: number; openedAt: number } | undefined
  /** The position of the last line that was written or dropped. */
  let position = 0
  let failing = false
  /** Whether no line has come since `close`. */
  let isComplete = false

  function write(line: string): void {
    isComplete = false
    if (line.length > maxLineLength) {
      flush()
      drop(1, 'too_long')
      return
    }
    lines.push(line)
    length += line.length
    if (length >= flushLength) flush()
    else if (!scheduled) {
      scheduled = true
      setImmediate(flush)
    }
  }

  function flush(): void {
    scheduled = false
    if (lines.length === 0) return
    const count = lines.length
    const bytes = Buffer.from(lines.join(''))
    lines = []
    length = 0
    try {
      if (segment !== undefined && performance.now() - segment.openedAt >= segmentMs) closeSegment()
      segment ??= openSegment()
      writeAll(segment.fd, bytes)
      segment.size += bytes.length
      position += count
      if (segment.size >= segmentBytes) closeSegment()
      if (failing) events.disk(undefined)
      failing = false
    } catch (error) {
      cutBack()
      drop(count, 'disk')
      if (!failing) events.disk(error as Error)
      failing = true
    }
  }

  function openSegment(): NonNullable<typeof segment> {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return { fd: openSync(segmentPath(directory, position + 1), 'ax', 0o600), size: 0, openedAt: performance.now() }
  }

  function closeSegment(): void {
    if (segment !== undefined) closeSync(segment.fd)
    segment = undefined
  }

  function cutBack(): void {
    try {
      if (segment !== undefined) ftruncateSync(segment.fd, segment.size)
    } catch {
      // A partial line may remain at the end of the segment, which is closed now; the reader drops it.
    }
  }

  function drop(count: number, reason: DropReason): void {
    closeSegment()
    position += count
    events.dropped(count, reason)
  }

  return {
    write,
    flush,
    close() {
      flush()
      closeSegment()
      isComplete = true
    },
    remove() {
      if (isComplete) rmSync(directory, { recursive: true, force: true })
    }
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
}
