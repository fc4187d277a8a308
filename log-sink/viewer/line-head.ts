/** How a line begins in the form that the services write: `{"level":"info","time":"2026-11-24T08:15:00.123Z","service":"gateway"`. */

/** Where the level and the service of a line stand in its bytes, and its time. */
export interface LineHead {
  level: number
  levelEnd: number
  /** Milliseconds since 1970. */
  ms: number
  service: number
  serviceEnd: number
}

const beforeLevel = Buffer.from('{"level":"')
const beforeTime = Buffer.from('","time":"')
const beforeService = Buffer.from('","service":"')
const timeLength = '2026-11-24T08:15:00.123Z'.length
const quote = 0x22
const backslash = 0x5c

/** The time of a line in the usual form, in milliseconds; NaN if the line has another form. */
export function headTime(bytes: Buffer, start: number, end: number): number {
  const at = timeStart(bytes, start, end)
  return at < 0 ? Number.NaN : parseTime(bytes, at)
}

/** The head of a line in the usual form; undefined if the line has another form. */
export function readHead(bytes: Buffer, start: number, end: number): LineHead | undefined {
  const at = timeStart(bytes, start, end)
  if (at < 0) return undefined
  const ms = parseTime(bytes, at)
  const afterTime = at + timeLength
  if (Number.isNaN(ms) || !standsAt(beforeService, bytes, afterTime, end)) return undefined
  const service = afterTime + beforeService.length
  const serviceEnd = textEnd(bytes, service, end)
  if (serviceEnd < 0) return undefined
  return { level: start + beforeLevel.length, levelEnd: at - beforeTime.length, ms, service, serviceEnd }
}

/** Whether the bytes from `start` to `end` are this text. */
export function isText(text: Buffer, bytes: Buffer, start: number, end: number): boolean {
  return end - start === text.length && standsAt(text, bytes, start, end)
}

function timeStart(bytes: Buffer, start: number, end: number): number {
  if (!standsAt(beforeLevel, bytes, start, end)) return -1
  const level = textEnd(bytes, start + beforeLevel.length, end)
  if (level < 0 || !standsAt(beforeTime, bytes, level, end)) return -1
  const at = level + beforeTime.length
  return at + timeLength < end && bytes[at + timeLength] === quote ? at : -1
}

function standsAt(text: Buffer, bytes: Buffer, at: number, end: number): boolean {
  if (at + text.length > end) return false
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false
  return true
}

/** Where a text without escapes ends, -1 if there is none. */
function textEnd(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at++) {
    if (bytes[at] === quote) return at
    if (bytes[at] === backslash) return -1
  }
  return -1
}

// Lines of one day follow each other.
const day = { date: 0, ms: 0 }

function parseTime(bytes: Buffer, at: number): number {
  const year = number(bytes, at, 4)
  const month = number(bytes, at + 5, 2)
  const date = number(bytes, at + 8, 2)
  const hours = number(bytes, at + 11, 2)
  const minutes = number(bytes, at + 14, 2)
  const seconds = number(bytes, at + 17, 2)
  const ms = number(bytes, at + 20, 3)
  const punctuated =
    bytes[at + 4] === 0x2d &&
    bytes[at + 7] === 0x2d &&
    bytes[at + 10] === 0x54 &&
    bytes[at + 13] === 0x3a &&
    bytes[at + 16] === 0x3a &&
    bytes[at + 19] === 0x2e &&
    bytes[at + 23] === 0x5a
  // A comparison with NaN is false.
  const plain =
    year > 999 &&
    month > 0 &&
    month < 13 &&
    date > 0 &&
    date < 32 &&
    hours < 24 &&
    minutes < 60 &&
    seconds < 60 &&
    ms >= 0
  if (!punctuated || !plain) return Number.NaN
  const key = (year * 100 + month) * 100 + date
  if (key !== day.date) {
    const midnight = new Date(Date.UTC(year, month - 1, date))
    if (midnight.getUTCDate() !== date) return Number.NaN
    day.date = key
    day.ms = midnight.getTime()
  }
  return day.ms + ((hours * 60 + minutes) * 60 + seconds) * 1000 + ms
}

function number(bytes: Buffer, at: number, digits: number): number {
  let value = 0
  for (let i = 0; i < digits; i++) {
    const digit = (bytes[at + i] as number) - 0x30
    if (digit < 0 || digit > 9) return Number.NaN
    value = value * 10 + digit
  }
  return value
}
