/** What a Kafka record holds: lines of a source, each of which is checked before it is collected. */

import { isUtf8 } from 'node:buffer'
import { logLevels } from '#common/config/shared-sections.ts'

/** A record as it comes from a partition. */
export interface LogRecord {
  offset: number
  key: Buffer | null
  value: Buffer | null
  headers: Record<string, unknown> | undefined
}

/** Where the lines of a record come from; `log.v1` in the contracts says what that means. */
export interface Origin {
  /** `<service>/<instance>` */
  source: string
  /** The position of the record's first line in its source. */
  position: number
}

const sourcePattern = /^[\w.-]{1,100}\/[\w.-]{1,150}$/
const positionPattern = /^[1-9]\d{0,14}$/

/** Where a record's lines come from, or why that cannot be told. */
export function originOf({ key, value, headers }: LogRecord): Origin | string {
  if (value === null || value.length === 0) return 'it has no value'
  const source = key?.toString('utf8') ?? ''
  if (!sourcePattern.test(source)) return 'its key is no source (service/instance)'
  const position = String(headers?.position ?? '')
  if (!positionPattern.test(position)) return 'its header position is no position (a whole number from 1)'
  return { source, position: Number(position) }
}

const levels = new Set<unknown>(logLevels)
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

/** Why a line is no LogLine (`log.v1`), or nothing if it is one. */
export function faultOf(line: string): string | undefined {
  let fields: Record<string, unknown> | null
  try {
    fields = JSON.parse(line)
  } catch {
    return 'it is not JSON'
  }
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) return 'it is no JSON object'
  const { time, level, service, msg } = fields
  if (typeof time !== 'string' || !timePattern.test(time)) return 'its time is no RFC 3339 time'
  if (!levels.has(level)) return `its level is none of ${logLevels.join(', ')}`
  if (typeof service !== 'string' || service === '') return 'its service is no text'
  if (typeof msg !== 'string') return 'its msg is no text'
  return undefined
}

const lineEnd = 0x0a

/** One line of a record. */
export interface Line {
  /** As it came, without its end. */
  bytes: Buffer
  fault: string | undefined
}

/** The lines of a record; `allSound` says that each is a LogLine and ended, so that the value can be kept as it is. */
export function linesOf(value: Buffer): { count: number; allSound: boolean; lines: () => Line[] } {
  const ended = value.at(-1) === lineEnd
  const texts = (ended ? value.subarray(0, -1) : value).toString('utf8').split('\n')
  const sound = isUtf8(value)
  const allSound = ended && sound && texts.every((text) => faultOf(text) === undefined)
  return {
    count: texts.length,
    allSound,
    lines: () =>
      slices(value).map((bytes, index) => ({
        bytes,
        fault: sound || isUtf8(bytes) ? faultOf(texts[index] ?? '') : 'it is not UTF-8'
      }))
  }
}

function slices(value: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let from = 0; from < value.length; ) {
    const end = value.indexOf(lineEnd, from)
    found.push(value.subarray(from, end < 0 ? value.length : end))
    from = end < 0 ? value.length : end + 1
  }
  return found
}
