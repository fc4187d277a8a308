/** Sorts the records of a batch into new lines, duplicates, dead letters and refused records. */

import type { Range } from './collected-positions.ts'
import { createDeadLetters, type DeadLetters } from './dead-letters.ts'
import { type Positions, type PositionTracker, trackPositions } from './positions.ts'
import { foreignFault, type LogRecord, linesOf, originOf } from './records.ts'

/** The content of a batch, ready to be appended. */
export interface RecordBatch {
  lines: Buffer[]
  deadLetters: Buffer[]
  /** The positions after the batch. */
  positions: Positions
  counts: BatchCounts
}

/** The numbers of collected lines, and of lines that were dropped because they had been collected. */
interface LineCounts {
  written: number
  duplicates: number
}

/** The numbers of lines of a batch, and of its refused records by reason. */
export interface BatchCounts extends LineCounts {
  missing: number
  deadLetters: number
  refused: Record<Refusal, number>
}

/**
 * Why a record was refused; it is in the dead-letter file.
 * - `batch`: its batch is malformed or outside the limits
 * - `position`: its position is too far ahead
 * - `source`: a line names another service or instance than the key
 */
export const refusals = ['batch', 'position', 'source'] as const
export type Refusal = (typeof refusals)[number]

const lineEnd = Buffer.from('\n')

/** Reads the records of a partition that follow `positions`. */
export function readRecordBatch(
  records: LogRecord[],
  positions: Positions,
  place: { topic: string; partition: number }
): RecordBatch {
  const tracker = trackPositions(positions)
  const lines: Buffer[] = []
  const letters = createDeadLetters(place)
  const refused = { batch: 0, position: 0, source: 0 }
  let written = 0
  let duplicates = 0
  for (const record of records) {
    const outcome = readRecord(record, tracker, lines, letters)
    if (typeof outcome === 'string') refused[outcome] += 1
    else {
      written += outcome.written
      duplicates += outcome.duplicates
    }
  }
  const counts = { written, missing: tracker.missing, duplicates, deadLetters: letters.count(), refused }
  return { lines, deadLetters: letters.encoded, positions: tracker.positions(), counts }
}

/** @returns the numbers of lines, or why the record was refused */
function readRecord(
  record: LogRecord,
  tracker: PositionTracker,
  lines: Buffer[],
  letters: DeadLetters
): LineCounts | Refusal {
  const { offset, value: content } = record
  if (record.fault !== undefined) {
    letters.add(offset, record.fault, null)
    return 'batch'
  }
  const origin = originOf(record)
  if ('fault' in origin) {
    letters.add(offset, origin.fault, content)
    return { written: 0, duplicates: 0 }
  }
  const { source, position, value } = origin
  const { count, isValid, isForeign, lines: linesOfRecord } = linesOf(value, source)
  if (isForeign) {
    letters.add(offset, foreignFault, value, { source, position })
    return 'source'
  }
  const added = tracker.take(source, position, count)
  if (added === undefined) {
    letters.add(offset, 'the position is too far ahead of its source', value, { source, position })
    return 'position'
  }
  const duplicates = added.reduce((left, [from, to]) => left - (to - from + 1), count)
  if (duplicates === 0 && isValid) {
    lines.push(value)
    return { written: count, duplicates }
  }
  let written = 0
  for (const [index, { bytes, fault }] of linesOfRecord().entries()) {
    if (!contains(added, position + index)) continue
    if (fault !== undefined) letters.add(offset, fault, bytes, { source, position: position + index })
    else {
      lines.push(bytes, lineEnd)
      written += 1
    }
  }
  return { written, duplicates }
}

const contains = (ranges: Range[], position: number) => ranges.some(([from, to]) => position >= from && position <= to)
