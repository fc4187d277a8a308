/** Formats a log line for a terminal: one event a line, aligned, with local times, and harmless for the terminal. */

import type { Fields } from './query.ts'
import { parseLine } from './reader.ts'

/** Formats a line, its line end included. */
export type Format = (line: Buffer) => string

const colours = { trace: '90', debug: '36', info: '32', warn: '33', error: '31', fatal: '97;41' }
const isWord = (value: unknown) => typeof value === 'string' && /^[^\s"=]+$/.test(value)
const colourOf = new Map<unknown, string>(Object.entries(colours))

/** A format that writes a heading whenever the date changes. */
export function createFormat(coloured: boolean): Format {
  const paint = (colour = '', text: string) => (coloured && colour && text ? `\x1b[${colour}m${text}\x1b[0m` : text)
  const dim = (text: string) => paint('2', text)
  let lastDay = ''

  return (bytes) => {
    const line = parseLine(bytes)
    if (line === undefined) return `${printable(bytes.toString().trimEnd())}\n`
    // Version, process, span and lists of traces would fill the screen; the JSON lines contain them.
    const { time, level, service, msg, version, instance, spanId, traceIds, err, ...fields } = line
    const { method, route, statusCode, rpc, code, durationMs, userId, sessionId, traceId, ...others } = fields
    const [day, clock] = localTime(time) ?? [lastDay, printable(time)]
    const heading = day === lastDay ? '' : `${paint('1', day)}\n`
    lastDay = day
    const duration = durationMs === undefined ? undefined : `${printable(durationMs)} ms`
    const details = Object.entries({ ...others, user: userId, session: sessionId, trace: traceId })
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => dim(`${printable(key)}=`) + printable(isWord(value) ? value : JSON.stringify(value)))
    const [summary = '', ...stack] = errorLines(err)
    const parts = [
      dim(clock),
      paint(colourOf.get(level), printable(level).toUpperCase().padEnd(5)),
      paint('1', printable(service).padEnd('session-svc'.length)),
      [method, route, statusCode, rpc, code, duration].map(printable).filter(Boolean).join(' '),
      printable(msg),
      paint('31', summary),
      details.join(' ')
    ]
    return `${heading}${parts.filter(Boolean).join('  ')}\n${stack.map((frame) => `${dim(`    ${frame}`)}\n`).join('')}`
  }
}

/** The type, code and message of an error, then the stack frames of the error and of its causes. */
function errorLines(err: unknown): string[] {
  if (!(err instanceof Object)) return err === undefined ? [] : [printable(err)]
  const { type, code, message, stack = '', cause } = err as Fields
  const lines = String(stack).split('\n')
  const frames = lines.map((frame) => printable(frame.trim()))
  const [summary, ...causeFrames] = errorLines(cause)
  const causes = summary === undefined ? [] : [`caused by ${summary}`, ...causeFrames]
  return [[type, code, message].map(printable).filter(Boolean).join(' '), ...frames.filter(Boolean), ...causes]
}

/** The local date with its offset from UTC, and the local time. */
function localTime(time: unknown): [string, string] | undefined {
  const date = new Date(typeof time === 'string' ? time : Number.NaN)
  if (Number.isNaN(date.getTime())) return undefined
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString()
  const [, hours, minutes] = /GMT(...)(..)/.exec(date.toString()) ?? []
  return [`${local.slice(0, 10)} UTC${hours}:${minutes}`, local.slice(11, 23)]
}

/** Escapes control and format characters, surrogates and line separators: a terminal obeys some of them. */
function printable(value: unknown = ''): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`)
}
