/**
 * The files of a source in the disk buffer: `<spool>/<service>/<instance>/` contains segments, which are only appended to
 * and named by the position of their first line, and the file `shipped` with the shipping position.
 */

import { closeSync, constants, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** A file of lines. The lines of a source are numbered from 1; dropped lines keep their numbers. */
export interface Segment {
  /** The position of its first line. */
  first: number
  path: string
}

/** The shipping position of a source. */
export interface Shipped {
  /** The position of the last line that the brokers have acknowledged. */
  position: number
  /** The segment of the next line, by the position of its first line, and the offset of the next line in it. */
  segment: number
  offset: number
  /** The partition of all lines of the source; -1: not chosen yet. */
  partition: number
}

/** After this time without renewal the owner of a source in another container counts as dead; in milliseconds. */
export const sourceStaleMs = 60_000

/** The shipping position of a new source. */
export const nothingShipped: Shipped = { position: 0, segment: 0, offset: 0, partition: -1 }

const segmentPattern = /^(\d{16})\.ndjson$/

/** The path of the segment that starts with a position. */
export function segmentPath(directory: string, first: number): string {
  return join(directory, `${String(first).padStart(16, '0')}.ndjson`)
}

/** The segments of a source, in order; none without its directory. */
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

/** Reads the shipping position. A damaged file counts as missing: the sinks recognise repeated lines. */
export function readShipped(directory: string): Shipped {
  let text: string
  try {
    text = readFileSync(shippedPath(directory), 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return nothingShipped
    throw error
  }
  const match = shippedPattern.exec(text)
  if (match === null) return nothingShipped
  const [position, segment, offset, partition] = match.slice(1).map(Number) as [number, number, number, number]
  return { position, segment, offset, partition }
}

/** Writes the shipping position of a source; each write replaces it and has the same length. */
export function openShipped(directory: string): { write(shipped: Shipped): void; close(): void } {
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
