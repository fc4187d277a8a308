/** Consecutive lines of one source, which the shipper sends together. */

/** Consecutive lines of one source. */
export interface Batch {
  /** The position of its first line. */
  position: number
  count: number
  /** Its lines, each with its end; they lie in the buffer that they were read into. */
  bytes: Buffer
}

const lineEnd = 0x0a

/** The number of lines in bytes, each with its end. */
export function linesIn(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(lineEnd); at >= 0; at = bytes.indexOf(lineEnd, at + 1)) count += 1
  return count
}
