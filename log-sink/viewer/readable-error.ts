/** The error of a line, for people: what it is on the line, where it was thrown beneath. */

import { printable, printableValue } from './printable.ts'

type Fields = Record<string, unknown>

/** Its type, code and message, as far as they are known. */
export function errorSummary(err: unknown): string {
  if (err === undefined) return ''
  if (!isObject(err)) return `err=${printableValue(err)}`
  const { type, code, message } = err
  const name = [type, code].filter((part) => part !== undefined).map(word)
  return [name.join(' ') || 'error', ...(message === undefined ? [] : [word(message)])].join(': ')
}

/** The lines of its stack, and those of the errors that caused it. */
export function errorLines(err: unknown): string[] {
  if (!isObject(err)) return []
  const frames = typeof err.stack === 'string' ? err.stack.split(/\r?\n/) : []
  const lines = frames.map((frame) => printable(frame.trim())).filter((frame) => frame !== '')
  return isObject(err.cause) ? [...lines, `caused by ${errorSummary(err.cause)}`, ...errorLines(err.cause)] : lines
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function word(value: unknown): string {
  return printable(typeof value === 'string' ? value : JSON.stringify(value))
}
