/** The writing end of the disk buffer: lines of one turn of the event loop go out in one write, and nothing waits for Kafka. */

import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { segmentPath } from './layout.ts'

/** Why lines were dropped; `too_large` for the brokers: such a line is in the dead-letter file. */
export type DropReason = 'disk' | 'too_long' | 'too_large' | 'spool_full' | 'torn'

/** Takes the lines of one process. */
export interface Spool {
  /** Takes a line, its end included. It is on its way to the disk when the current turn of the event loop ends. */
  write(line: string): void
  /** Writes what has been taken. */
  flush(): void
  close(): void
}

/** What a spool tells its owner. */
export interface SpoolEvents {
  dropped(count: number, reason: DropReason): void
  /** The disk does not take lines any more (with the reason), or takes them again. */
  disk(error: Error | undefined): void
}

/** The longest line that is kept, in characters: what a broker takes at once has a limit. */
export const maxLineLength = 65_536
const flushLength = 65_536

/**
 * A spool that writes to segments in a directory, which is made when the first line comes.
 * A line that cannot be kept is dropped and told; its position stays empty, so that the sinks know of it too.
 *
 * @param segmentBytes a segment that has this size is closed, and another begins
 * @param segmentMs so is a segment of this age
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
  /** Of the last line that was written or dropped. */
  let position = 0
  let failing = false

  function write(line: string): void {
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
      // What is left of the write stays at the end of a segment that is closed now; the reader knows half a line.
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
    }
  }
}

function writeAll(fd: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(fd, bytes, written)
}
