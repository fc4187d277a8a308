/**
 * Lines with their place in the order, packed into bytes, in memory and in temporary files alike: time, nanoseconds,
 * file and length, then the line, filled up to a multiple of eight bytes.
 */

import type { Instant } from './instant.ts'

/** A line and its place in the order. */
export interface Entry extends Instant {
  /** Where it was read, as a number below 2^32; of lines of the same time, those of the lower one come first. */
  file: number
  line: Buffer
}

const headBytes = 24

/** Bytes that hold records. */
export interface Records {
  bytes: Buffer
  times: Float64Array
  words: Uint32Array
}

/** Room for records. */
export function allocateRecords(size: number): Records {
  const bytes = Buffer.allocUnsafeSlow(Math.ceil(size / 8) * 8)
  return { bytes, times: new Float64Array(bytes.buffer), words: new Uint32Array(bytes.buffer) }
}

/** The room that the record of a line takes. */
export function recordBytes(lineBytes: number): number {
  return headBytes + Math.ceil(lineBytes / 8) * 8
}

/** Writes a record; there must be room for it. */
export function putRecord({ bytes, times, words }: Records, offset: number, at: Instant, file: number, line: Buffer) {
  times[offset / 8] = at.ms
  words[offset / 4 + 2] = at.ns
  words[offset / 4 + 3] = file
  words[offset / 4 + 4] = line.length
  line.copy(bytes, offset + headBytes)
}

/** The length of the line at an offset, undefined if its record does not lie before `end` as a whole. */
export function lineLength({ words }: Records, offset: number, end: number): number | undefined {
  if (offset + headBytes > end) return undefined
  const length = words[offset / 4 + 4] as number
  return offset + recordBytes(length) > end ? undefined : length
}

/** The record at an offset; its line is not copied. */
export function getRecord({ bytes, times, words }: Records, offset: number): Entry {
  const start = offset + headBytes
  return {
    ms: times[offset / 8] as number,
    ns: words[offset / 4 + 2] as number,
    file: words[offset / 4 + 3] as number,
    line: bytes.subarray(start, start + (words[offset / 4 + 4] as number))
  }
}

/** Compares the records at two offsets. */
export function recordOrder({ times, words }: Records): (a: number, b: number) => number {
  // Two beginnings of time differ by NaN, which counts as no difference.
  return (a, b) =>
    (times[a / 8] as number) - (times[b / 8] as number) ||
    (words[a / 4 + 2] as number) - (words[b / 4 + 2] as number) ||
    (words[a / 4 + 3] as number) - (words[b / 4 + 3] as number)
}

/** Compares two entries. */
export function entryOrder(a: Entry, b: Entry): number {
  return a.ms - b.ms || a.ns - b.ns || a.file - b.file
}
