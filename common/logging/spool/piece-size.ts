/** How many lines of a batch go to the brokers at once: all of them, unless the brokers have rejected that many. */

import { type Batch, linesIn } from './batch.ts'

/** The brokers reject a record for its size. */
export class RecordTooLargeError extends Error {
  override name = 'RecordTooLargeError'
  /** False if the brokers only closed the connection, which may have other causes. */
  readonly isCertain: boolean

  constructor(cause: unknown, isCertain = true) {
    super('the brokers reject a record for its size', { cause })
    this.isCertain = isCertain
  }
}

/** The size of the pieces, in bytes before compression. */
export interface PieceSize {
  /** The first lines of a batch, at least one. */
  piece(batch: Batch): Batch
  /** The brokers have rejected this piece: the next ones are at most half as large. */
  rejected(piece: Batch): void
}

// Operators raise limits, too.
const retryLargerMs = 60_000
const lineEnd = 0x0a

/** @param now monotonic, in milliseconds */
export function createPieceSize(now: () => number = () => performance.now()): PieceSize {
  let maxBytes = Number.POSITIVE_INFINITY
  let loweredAt = 0
  return {
    piece(batch) {
      if (now() - loweredAt > retryLargerMs) maxBytes = Number.POSITIVE_INFINITY
      if (batch.bytes.length <= maxBytes) return batch
      const fitting = batch.bytes.subarray(0, maxBytes).lastIndexOf(lineEnd) + 1
      const bytes = batch.bytes.subarray(0, fitting || batch.bytes.indexOf(lineEnd) + 1)
      return { position: batch.position, count: linesIn(bytes), bytes }
    },
    rejected(piece) {
      maxBytes = Math.ceil(piece.bytes.length / 2)
      loweredAt = now()
    }
  }
}

/** What follows a piece in its batch; nothing if it was all. */
export function behind(batch: Batch, piece: Batch): Batch | undefined {
  if (piece.count === batch.count) return undefined
  const bytes = batch.bytes.subarray(piece.bytes.length)
  return { position: batch.position + piece.count, count: batch.count - piece.count, bytes }
}
