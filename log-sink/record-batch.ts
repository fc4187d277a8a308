/** Sorts the records of a batch into new lines, duplicates and dead letters. */

import { type Positions, type PositionTracker, trackPositions } from './positions.ts'
import { type LogRecord, linesOf, originOf } from './records.ts'

/** The content of a batch, ready to be appended. */
export interface RecordBatch {
  lines: Buffer[]
  deadLetters: Buffer[]
  /** The positions after the batch. */
  positions: Positions
  counts: BatchCounts
}

/** The numbers of lines of a batch. */
export interface BatchCounts {
  written: number
  missing: number
  duplicates: number
  deadLetters: number
}

interface Place {
  topic: string
  partition: number
}

const lineEnd = Buffer.from('\n')
const maxDeadLetterBytes = 65_536

/** Reads the records of a partition that follow `positions`. */
export function readRecordBatch(records: LogRecord[], positions: Positions, place: Place): RecordBatch {
  const tracker = trackPositions(positions)
  const lines: Buffer[] = []
  const deadLetters: Buffer[] = []
  let written = 0
  for (const record of records) {
    const deadLetter = (reason: string, bytes: Buffer | null, origin = {}) =>
      deadLetters.push(encodeDeadLetter({ reason, ...place, offset: record.offset, ...origin }, bytes))
    written += readRecord(record, tracker, lines, deadLetter)
  }
  const { missing, duplicates } = tracker
  const counts = { written, missing, duplicates, deadLetters: deadLetters.length }
  return { lines, deadLetters, positions: tracker.positions(), counts }
}

/** @returns the number of new lines */
function readRecord(
  record: LogRecord,
  tracker: PositionTracker,
  lines: Buffer[],
  deadLetter: (reason: string, bytes: Buffer | null, origin?: object) => void
): number {
  const origin = originOf(record)
  if ('fault' in origin) {
    deadLetter(origin.fault, record.value)
    return 0
  }
  const { source, position, value } = origin
  const content = linesOf(value)
  const known = tracker.take(source, position, content.count)
  if (known === 0 && content.isValid) {
    lines.push(value)
    return content.count
  }
  let written = 0
  for (const [index, { bytes, fault }] of content.lines().entries()) {
    if (index < known) continue
    if (fault !== undefined) deadLetter(fault, bytes, { source, position: position + index })
    else {
      lines.push(bytes, lineEnd)
      written += 1
    }
  }
  return written
}

/** Encodes a dead letter: its reason, its origin and its content, cut to 64 KiB. */
function encodeDeadLetter(fields: object, bytes: Buffer | null): Buffer {
  const line = bytes?.subarray(0, maxDeadLetterBytes).toString('utf8') ?? null
  return Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), ...fields, line })}\n`)
}
