/**
 * Where the lines of a source wait on disk: `<spool>/<service>/<instance>/`, in segments that are only ever appended
 * to, each named by the position of its first line. The file `shipped` says how far Kafka has them.
 */

import { closeSync, constants, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** One file of lines. The lines of a source are numbered from 1; lines that had to be dropped keep their numbers. */
export interface Segment {
  /** The position of its first line. */
  first: number
  path: string
}

/** How far a source has been shipped. */
export interface Shipped {
  /** The position of the last line that the brokers have acknowledged. */
  position: number
  /** The segment that follows in, by the position of its first line, and the bytes of it that are done with. */
  segment: number
  offset: number
  /** The partition that all lines of the source go to; -1: not chosen yet. */
  partition: number
}

/** After this time an owner of a source whose process cannot be seen, in another container, counts as dead; in ms. */
export const sourceStaleMs = 60_000

/** Nothing has been shipped. */
export const nothingShipped: Shipped = { position: 0, segment: 0, offset: 0, partition: -1 }

const segmentPattern = /^(\d{16})\.ndjson$/

/** The path of the segment that begins with a position. */
export function segmentPath(directory: string, first: number): string {
  return join(directory, `${String(first).padStart(16, '0')}.ndjson`)
}

/** The segments of a source, in order; none if its directory is gone. */
export function listSegments(directory: string): Segment[] {
  return namesIn(directory)
    .flatMap((name) => {
      const match = segmentPattern.exec(name)
      return match ? [{ first: Number(match[1]), path: join(directory, name) }] : []
    })
    .sort((a, b) => a.first - b.first)
}

/** The names in a directory; none if there is no such directory. */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

const width = 16
const shippedPattern = /^(\d+) +(\d+) +(\d+) +(-?\d+) *\n$/
const shippedPath = (directory: string) => join(directory, 'shipped')

/** How far a source has been shipped, as last noted. A note that cannot be read counts as none: the sinks know what they have. */
export function readShipped(directory: string): Shipped {
  let note: string
  try {
    note = readFileSync(shippedPath(directory), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothingShipped
    throw error
  }
  const match = shippedPattern.exec(note)
  if (match === null) return nothingShipped
  const [position, segment, offset, partition] = match.slice(1).map(Number) as [number, number, number, number]
  return { position, segment, offset, partition }
}

/** The note of a source, for writing; one write of always the same length replaces it. */
export function shippedNote(directory: string): { write(shipped: Shipped): void; close(): void } {
  let fd: number | undefined
  return {
    write({ position, segment, offset, partition }) {
      fd ??= openSync(shippedPath(directory), constants.O_RDWR | constants.O_CREAT, 0o600)
      const fields = [position, segment, offset, partition].map((field) => String(field).padEnd(width))
      writeSync(fd, `${fields.join(' ')}\n`, 0)
    },
    close() {
      if (fd !== undefined) closeSync(fd)
      fd = undefined
    }
  }
}
