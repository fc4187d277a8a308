/** Batches: consecutive lines of one source that the shipper sends together. */

/** Consecutive lines of one source. */
export interface Batch {
  /** The position of its first line. */
  position: number
  count: number
  /** Its lines, each with its line end; a view of the buffer that they were read into. */
  bytes: Buffer
}

const lineEnd = 0x0a

/** The number of line ends in bytes. */
export function linesIn(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(lineEnd); at >= 0; at = bytes.indexOf(lineEnd, at + 1)) count += 1
  return count
}
