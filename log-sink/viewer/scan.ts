/** Finds the lines that are asked for in bytes as they come. */

import { beginning, type Instant } from './instant.ts'
import { createMatcher } from './match.ts'
import type { Query } from './query.ts'

/** Takes a line with its line end; the bytes are only valid during the call. */
export type Found = (line: Buffer, at: Instant) => void

type LineVisitor = (bytes: Buffer, start: number, end: number) => void

/** Reads one file, piece by piece. */
export interface Scanner {
  push(bytes: Buffer): void
  /** The bytes of all lines that ended so far. */
  scanned(): number
  /** Says that no more bytes can come: what is there without a line end is a line, too. */
  end(): unknown
}

const lineFeed = 0x0a

/** A scanner for the lines that a query asks for. */
export function createScanner(query: Query, found: Found): Scanner {
  const match = createMatcher(query)
  const needles = query.traceId === undefined ? [] : spellings(query.traceId)
  let unfinished: Buffer[] = []
  let scanned = 0
  let previous = beginning

  function line(bytes: Buffer, start: number, end: number): void {
    const at = match(bytes, start, end - 1, previous)
    if (at === undefined) return
    previous = at
    found(bytes.subarray(start, end), at)
  }

  function lines(bytes: Buffer): void {
    if (bytes.length === 0) return
    scanned += bytes.length
    if (needles.length > 0) eachLineWith(needles, bytes, line)
    else eachLine(bytes, line)
  }

  function push(bytes: Buffer): void {
    const end = bytes.lastIndexOf(lineFeed) + 1
    let start = 0
    if (end > 0 && unfinished.length > 0) {
      start = bytes.indexOf(lineFeed) + 1
      lines(Buffer.concat([...unfinished, bytes.subarray(0, start)]))
      unfinished = []
    }
    lines(bytes.subarray(start, end))
    if (end < bytes.length) unfinished.push(Buffer.from(bytes.subarray(end)))
  }

  return {
    push,
    scanned: () => scanned,
    end: () => unfinished.length > 0 && push(Buffer.of(lineFeed))
  }
}

/** Upper case is valid in a line of a producer that is none of ours. */
function spellings(traceId: string): Buffer[] {
  return [...new Set([traceId, traceId.toUpperCase()])].map((text) => Buffer.from(text))
}

function eachLine(bytes: Buffer, line: LineVisitor): void {
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(lineFeed, start) + 1
    line(bytes, start, end)
    start = end
  }
}

/** Calls `line` for each line in which one of the needles occurs, in order. */
function eachLineWith(needles: Buffer[], bytes: Buffer, line: LineVisitor): void {
  const next = needles.map((needle) => bytes.indexOf(needle))
  for (;;) {
    const hits = next.filter((at) => at >= 0)
    if (hits.length === 0) return
    const hit = Math.min(...hits)
    const end = bytes.indexOf(lineFeed, hit) + 1
    line(bytes, bytes.lastIndexOf(lineFeed, hit) + 1, end)
    for (const [i, needle] of needles.entries()) {
      if (next[i] !== -1 && (next[i] as number) < end) next[i] = bytes.indexOf(needle, end)
    }
  }
}
