/** The size of requests: a whole batch, or smaller pieces after the brokers have rejected one for its size. */

import { type Batch, linesIn } from './batch.ts'

/** The brokers have rejected a record for its size. */
export class RecordTooLargeError extends Error {
  override name = 'RecordTooLargeError'
  /** False if the brokers only closed the connection, which may have other causes. */
  readonly isCertain: boolean

  constructor(cause: unknown, isCertain = true) {
    super('the brokers rejected a record for its size', { cause })
    this.isCertain = isCertain
  }
}

/** The size of the pieces, in bytes before compression. */
interface PieceSize {
  /** The first lines of a batch, at least one. */
  firstPiece(batch: Batch): Batch
  /** Halves the size of the next pieces. */
  onRejected(piece: Batch): void
}

// An operator may have raised the limit.
const retryLargerMs = 60_000
const lineEnd = 0x0a

/** @param now monotonic, in milliseconds */
export function createPieceSize(now: () => number): PieceSize {
  let maxBytes = Number.POSITIVE_INFINITY
  let loweredAt = 0
  return {
    firstPiece(batch) {
      if (now() - loweredAt > retryLargerMs) maxBytes = Number.POSITIVE_INFINITY
      if (batch.bytes.length <= maxBytes) return batch
      const fitting = batch.bytes.subarray(0, maxBytes).lastIndexOf(lineEnd) + 1
      const bytes = batch.bytes.subarray(0, fitting || batch.bytes.indexOf(lineEnd) + 1)
      return { position: batch.position, count: linesIn(bytes), bytes }
    },
    onRejected(piece) {
      maxBytes = Math.ceil(piece.bytes.length / 2)
      loweredAt = now()
    }
  }
}

/** The lines of a batch behind its first piece; undefined if there are none. */
export function remainder(batch: Batch, piece: Batch): Batch | undefined {
  if (piece.count === batch.count) return undefined
  const bytes = batch.bytes.subarray(piece.bytes.length)
  return { position: batch.position + piece.count, count: batch.count - piece.count, bytes }
}
