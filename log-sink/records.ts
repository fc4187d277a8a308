/** Decodes and validates Kafka records: each holds lines of a source. */

import { isUtf8 } from 'node:buffer'
import { logLevels } from '#common/config/shared-sections.ts'

/** A record of a partition. */
export interface LogRecord {
  offset: number
  key: Buffer | null
  value: Buffer | null
  headers: Record<string, unknown> | undefined
  /** Why the batch of the record was not decoded; its other records are missing. */
  fault?: string
}

/** The origin of the lines of a record; `log.v1` in the contracts defines it. */
interface Origin {
  /** `<service>/<instance>` */
  source: string
  /** The position of the first line in its source. */
  position: number
  value: Buffer
}

const sourcePattern = /^[\w.-]{1,100}\/[\w.-]{1,150}$/
const lineEnd = 0x0a
const positionPattern = /^[1-9]\d{0,14}$/

/** The origin of the lines of a record, or the reason why the record has none. */
export function originOf({ key, value, headers }: LogRecord): Origin | { fault: string } {
  if (value === null || value.length === 0) return { fault: 'the record has no value' }
  if (hasTooManyLines(value)) return { fault: `the record has more than ${maxLines} lines` }
  const source = key?.toString('utf8') ?? ''
  if (!sourcePattern.test(source)) return { fault: 'the key is not a source (service/instance)' }
  const position = String(headers?.position ?? '')
  if (!positionPattern.test(position)) return { fault: 'the header position is not a whole number from 1' }
  return { source, position: Number(position), value }
}

/** Far more than the shipper sends in a record. */
const maxLines = 65_536

function hasTooManyLines(value: Buffer): boolean {
  let count = 0
  for (let at = value.indexOf(lineEnd); at >= 0; at = value.indexOf(lineEnd, at + 1)) {
    count += 1
    if (count > maxLines) return true
  }
  return false
}

const levels = new Set<unknown>(logLevels)
// The required fields take more, and a spool drops longer lines: at most three bytes for each of its 65,536 characters.
const minLineLength = 64
const maxLineLength = 3 * 65_536
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

/** The fault of a LogLine of another source than the record. */
export const foreignFault = 'a line names another source than the key'

/** The reason why a line is not a LogLine (`log.v1`) of a source; undefined if it is one. */
function faultOf(line: string, source: string): string | undefined {
  if (line.length < minLineLength) return 'the line is shorter than any log line'
  if (line.length > maxLineLength) return 'the line is longer than any log line'
  let fields: Record<string, unknown> | null
  try {
    fields = JSON.parse(line)
  } catch {
    return 'the line is not JSON'
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return 'the line is not a JSON object'
  const { time, level, service, instance, msg } = fields
  if (typeof time !== 'string' || !timePattern.test(time)) return 'time is not an RFC 3339 time'
  if (!levels.has(level)) return `level is none of ${logLevels.join(', ')}`
  if (typeof service !== 'string' || service === '') return 'service is not a string'
  if (typeof instance !== 'string') return 'instance is not a string'
  if (typeof msg !== 'string') return 'msg is not a string'
  return `${service}/${instance}` === source ? undefined : foreignFault
}

/** One line of a record. */
export interface Line {
  /** Without its line end. */
  bytes: Buffer
  fault: string | undefined
}

interface RecordLines {
  count: number
  /** Each line is a LogLine with a line end: the value can be appended unchanged. */
  isValid: boolean
  /** A line is a LogLine of another source. No service of the product writes such a record. */
  isForeign: boolean
  lines: () => Line[]
}

/** The lines of a record of a source. */
export function linesOf(value: Buffer, source: string): RecordLines {
  const hasLineEnd = value.at(-1) === lineEnd
  const texts = (hasLineEnd ? value.subarray(0, -1) : value).toString('utf8').split('\n')
  const isText = isUtf8(value)
  const faults = texts.map((text) => faultOf(text, source))
  return {
    count: texts.length,
    isValid: hasLineEnd && isText && faults.every((fault) => fault === undefined),
    isForeign: faults.includes(foreignFault),
    lines: () =>
      splitLines(value).map((bytes, index) => ({
        bytes,
        fault: isText || isUtf8(bytes) ? faults[index] : 'the line is not UTF-8'
      }))
  }
}

function splitLines(value: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let from = 0; from < value.length; ) {
    const end = value.indexOf(lineEnd, from)
    lines.push(value.subarray(from, end < 0 ? value.length : end))
    from = end < 0 ? value.length : end + 1
  }
  return lines
}
