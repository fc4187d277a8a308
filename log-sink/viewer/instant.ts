/** Points in time, exact to the nanosecond, and the forms in which they are written. */

/** A point in time. */
export interface Instant {
  /** Milliseconds since 1970. */
  ms: number
  /** Nanoseconds that follow them. */
  ns: number
}

/** Before every line. */
export const beginning: Instant = { ms: Number.NEGATIVE_INFINITY, ns: 0 }

const format =
  /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?(?: ?(?:(Z)|([+-])(\d\d)(?::?(\d\d))?))?)?$/i

/**
 * Reads an ISO 8601 time, in any of the usual variants.
 *
 * @param zone what a time means that names no zone: `Z`, or '' for the local one
 * @returns undefined if it is none
 */
export function parseInstant(text: string, zone: 'Z' | ''): Instant | undefined {
  const match = format.exec(text)
  if (match === null) return undefined
  const [, date, minutes = '00:00', seconds = '00', fraction = '', z, sign, hours, more = '00'] = match
  // JavaScript takes the 30th of February for the 2nd of March.
  const midnight = Date.parse(`${date}T00:00:00Z`)
  if (Number.isNaN(midnight) || new Date(midnight).toISOString().slice(0, 10) !== date) return undefined
  const ms = Date.parse(`${date}T${minutes}:${seconds}${z || sign ? 'Z' : zone}`)
  if (Number.isNaN(ms) || Number(hours ?? 0) > 23 || Number(more) > 59) return undefined
  const offsetMs = sign ? Number(`${sign}1`) * (Number(hours) * 60 + Number(more)) * 60_000 : 0
  const digits = fraction.padEnd(9, '0')
  return { ms: ms - offsetMs + Number(digits.slice(0, 3)), ns: Number(digits.slice(3, 9)) }
}

/** Reads the time of a line; other than ISO 8601, what JavaScript can read. Without a zone it is UTC. */
export function lineInstant(time: unknown): Instant | undefined {
  if (typeof time !== 'string') return undefined
  const instant = parseInstant(time.trim(), 'Z')
  if (instant !== undefined) return instant
  const ms = Date.parse(time)
  return Number.isNaN(ms) ? undefined : { ms, ns: 0 }
}

/** Whether one comes before the other. */
export function isBefore(a: Instant, b: Instant): boolean {
  return a.ms < b.ms || (a.ms === b.ms && a.ns < b.ns)
}
