/** Lines for people: one event a line, aligned and coloured. */

import { lineInstant } from './instant.ts'
import { parseLine } from './match.ts'
import { printable, printableValue } from './printable.ts'
import { errorLines, errorSummary } from './readable-error.ts'

/** Turns a line, with its line end, into what a person reads. */
export type Format = (line: Buffer) => string

type Fields = Record<string, unknown>

const levelColours = new Map([
  ['trace', '90'],
  ['debug', '36'],
  ['info', '32'],
  ['warn', '33'],
  ['error', '31'],
  ['fatal', '97;41']
])
const shortNames = new Map([
  ['userId', 'user'],
  ['sessionId', 'session'],
  ['traceId', 'trace']
])

/** A format that writes the date whenever it changes, and times as they are here. */
export function createFormat(coloured: boolean): Format {
  const paint = (colour: string | undefined, text: string) =>
    coloured && colour && text ? `\x1b[${colour}m${text}\x1b[0m` : text
  const dim = (text: string) => paint('2', text)
  let day = ''
  let serviceWidth = 'session-svc'.length

  /** A heading if the line is of another day than the one before. */
  function heading(date: Date): string {
    const today = localDay(date)
    if (today === day) return ''
    day = today
    return `${paint('1', today)}\n`
  }

  return (bytes) => {
    const line = parseLine(bytes)
    if (line === undefined) return `${printable(bytes.toString('utf8', 0, bytes.length - 1))}\n`
    // The version, the process, the step of a request and lists of traces would fill the screen; the raw lines have them.
    const { time, level, service, msg, version, instance, spanId, traceIds, err, traceId, ...fields } = line
    const instant = lineInstant(time)
    const date = instant && new Date(instant.ms)
    const name = printable(text(service))
    serviceWidth = Math.min(Math.max(serviceWidth, name.length), 30)
    const what = takeWhat(fields)
    const rest = Object.entries(traceId === undefined ? fields : { ...fields, traceId })
    const details = rest.map(([key, value]) => dim(`${shortNames.get(key) ?? printable(key)}=`) + printableValue(value))
    const parts = [
      dim(date ? localTime(date) : printable(text(time))),
      paint(levelColours.get(text(level)), printable(text(level).toUpperCase()).padEnd(5)),
      paint('1', name.padEnd(serviceWidth)),
      what,
      printable(text(msg)),
      paint('31', errorSummary(err)),
      details.join(' ')
    ]
    const below = errorLines(err).map((errorLine) => `${dim(`    ${errorLine}`)}\n`)
    return `${date ? heading(date) : ''}${parts.filter((part) => part !== '').join('  ')}\n${below.join('')}`
  }
}

/** What was called, what came of it and how long it took; these fields are removed. */
function takeWhat(fields: Fields): string {
  const names = 'method' in fields ? ['method', 'route', 'statusCode'] : 'rpc' in fields ? ['rpc', 'code'] : []
  const words = names.flatMap((name) => take(fields, name))
  const [duration] = typeof fields.durationMs === 'number' ? take(fields, 'durationMs') : []
  return [...words, ...(duration ? [`${duration} ms`] : [])].join(' ')
}

function take(fields: Fields, name: string): string[] {
  const value = fields[name]
  if (typeof value !== 'string' && typeof value !== 'number') return []
  delete fields[name]
  return [printable(String(value))]
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined ? '' : JSON.stringify(value)
}

function localTime(date: Date): string {
  const [hours, minutes, seconds] = [date.getHours(), date.getMinutes(), date.getSeconds()].map(twoDigits)
  return `${hours}:${minutes}:${seconds}.${String(date.getMilliseconds()).padStart(3, '0')}`
}

/** The date and what the local time is ahead of UTC. */
function localDay(date: Date): string {
  const aheadMinutes = -date.getTimezoneOffset()
  const ahead = `${twoDigits(Math.floor(Math.abs(aheadMinutes) / 60))}:${twoDigits(Math.abs(aheadMinutes) % 60)}`
  const zone = aheadMinutes === 0 ? 'UTC' : `UTC${aheadMinutes < 0 ? '-' : '+'}${ahead}`
  return `${date.getFullYear()}-${twoDigits(date.getMonth() + 1)}-${twoDigits(date.getDate())} ${zone}`
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0')
}
