/** Delivers batches to the brokers: retries with backoff, splits batches that are too large, dead-letters such lines. */

import { backoffMs } from '#common/time/backoff.ts'
import type { Clock } from '#common/time/clock.ts'
import { untilAborted } from '#common/time/deadline.ts'
import type { Batch } from './batch.ts'
import { writeDeadLetter } from './dead-letters.ts'
import { createPieceSize, RecordTooLargeError, remainder } from './piece-size.ts'
import type { Send, ShipperEvents, ShipperSignals } from './shipper-options.ts'
import type { Source } from './source.ts'

const retryBackoff = { baseMs: 100, capMs: 1000 }
// A closed connection is most often a broker that stops, behind a proxy for hours: smaller pieces would not help.
const minRequestBytes = 128 * 1024

/**
 * Delivers in order.
 *
 * @param directory takes the dead-letter file
 * @param onRetry called before each retry
 * @returns a function that resolves to the partition of the batch, or to undefined if it was stopped
 */
export function createDelivery(
  send: Send,
  directory: string,
  events: ShipperEvents,
  { stop, cutOff }: ShipperSignals,
  clock: Clock,
  onRetry: () => void
): (source: Source, batch: Batch) => Promise<number | undefined> {
  const pieceSize = createPieceSize(clock.now)

  /** The position of the line stays empty, so that the sinks count it as missing. */
  function deadLetter(source: Source, { position, bytes }: Batch): void {
    try {
      writeDeadLetter(directory, source.name, position, bytes)
    } catch (error) {
      events.disk(error)
    }
    events.dropped(1, 'too_large')
  }

  /** @returns the lines to send next */
  function onTooLarge(source: Source, unsent: Batch, piece: Batch): Batch | undefined {
    if (piece.count === 1) {
      deadLetter(source, piece)
      return remainder(unsent, piece)
    }
    pieceSize.onRejected(piece)
    return unsent
  }

  return async (source, batch) => {
    let partition = source.partition()
    let unsent: Batch | undefined = batch
    let failures = 0
    while (unsent !== undefined) {
      const current: Batch = unsent
      const piece = pieceSize.firstPiece(current)
      try {
        partition = await untilAborted(cutOff, send(source.name, piece, partition))
        events.brokers(undefined)
        events.shipped(piece.count)
        unsent = remainder(current, piece)
        failures = 0
      } catch (error) {
        if (isTooLarge(error, piece)) {
          unsent = onTooLarge(source, current, piece)
          if (cutOff.aborted) return undefined
          continue
        }
        events.brokers(error)
        if (stop.aborted || cutOff.aborted) return undefined
        await clock.sleep(backoffMs(failures, retryBackoff), stop).catch(() => {})
        onRetry()
        failures += 1
      }
    }
    return partition
  }
}

function isTooLarge(error: unknown, { count, bytes }: Batch): boolean {
  if (!(error instanceof RecordTooLargeError)) return false
  return error.isCertain || (count > 1 && bytes.length > minRequestBytes)
}
