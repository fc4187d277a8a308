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

/** The services of the product, and the common name of all others. */
export const serviceNames = ['gateway', 'user-svc', 'session-svc', 'log-sink', 'other'] as const
type ServiceName = (typeof serviceNames)[number]

/** The numbers of collected lines, and of lines that were dropped because they had been collected. */
interface LineCounts {
  written: number
  duplicates: number
}

/** The numbers of lines of a batch, and of its refused records by reason. */
export interface BatchCounts {
  services: Record<ServiceName, LineCounts>
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
  const services = noLines()
  for (const record of records) {
    const outcome = readRecord(record, tracker, lines, letters)
    if (typeof outcome === 'string') refused[outcome] += 1
    else if (outcome !== undefined) {
      const counts = services[outcome.service]
      counts.written += outcome.written
      counts.duplicates += outcome.duplicates
    }
  }
  const counts = { services, missing: tracker.missing, deadLetters: letters.count(), refused }
  return { lines, deadLetters: letters.encoded, positions: tracker.positions(), counts }
}

function noLines(): Record<ServiceName, LineCounts> {
  const none = () => ({ written: 0, duplicates: 0 })
  return { gateway: none(), 'user-svc': none(), 'session-svc': none(), 'log-sink': none(), other: none() }
}

function serviceOf(source: string): ServiceName {
  const name = source.slice(0, source.indexOf('/'))
  return serviceNames.find((each) => each === name) ?? 'other'
}

/** @returns the numbers of its lines, or why the record was refused; undefined if it has no source */
function readRecord(
  record: LogRecord,
  tracker: PositionTracker,
  lines: Buffer[],
  letters: DeadLetters
): ({ service: ServiceName } & LineCounts) | Refusal | undefined {
  const { offset, value: content } = record
  if (record.fault !== undefined) {
    letters.add(offset, record.fault, null)
    return 'batch'
  }
  const origin = originOf(record)
  if ('fault' in origin) {
    letters.add(offset, origin.fault, content)
    return undefined
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
  const service = serviceOf(source)
  const duplicates = added.reduce((left, [from, to]) => left - (to - from + 1), count)
  if (duplicates === 0 && isValid) {
    lines.push(value)
    return { service, written: count, duplicates }
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
  return { service, written, duplicates }
}

const contains = (ranges: Range[], position: number) => ranges.some(([from, to]) => position >= from && position <= to)
