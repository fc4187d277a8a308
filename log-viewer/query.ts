/** The filters of `make logs`: the variables TRACE, SERVICE, LEVEL, SINCE and FOLLOW. */

import { durationMs } from '#common/config/keys.ts'
import { ConfigError } from '#common/config/load.ts'
import { logLevels } from '#common/config/shared-sections.ts'

/** Which lines are shown; an undefined filter takes every line. */
export type Query = ReturnType<typeof readQuery>

/** The parsed JSON object of a line. */
export type Fields = Record<string, unknown>

const isoTime = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/i
const traceForms = /^(?:[0-9a-f]{2}-)?([0-9a-f]{32})(?:-[0-9a-f]{16}-[0-9a-f]{2})?$/

/**
 * Reads the variables. An empty variable counts as unset.
 *
 * @throws {ConfigError} that names the variable, the accepted values and the value
 */
export function readQuery(environment: NodeJS.ProcessEnv, nowMs: number) {
  const read = <T>(name: string, accepts: string, parse: (text: string) => T | undefined): T | undefined => {
    const text = environment[name]?.trim()
    if (!text) return undefined
    const value = parse(text)
    if (value === undefined) throw new ConfigError(`${name}: must be ${accepts}, got ${JSON.stringify(text)}`)
    return value
  }
  return {
    traceId: read(
      'TRACE',
      'a trace id of 32 hexadecimal digits, or a traceparent',
      (text) => traceForms.exec(text.toLowerCase())?.[1]
    ),
    services: read('SERVICE', 'names of services, separated by commas', (text) => text.match(/[^\s,]+/g) ?? undefined),
    /** The least severe level, as its index in `logLevels`. */
    level: read('LEVEL', `one of ${logLevels.join(', ')}`, levelIndex),
    sinceMs: read('SINCE', 'a time span such as 15m, 2h, 7d, or an ISO 8601 time', (text) => parseSince(text, nowMs)),
    follow: read('FOLLOW', '1 or 0', (text) => (/^[01]$/.test(text) ? text === '1' : undefined)) ?? false
  }
}

/** Whether a line passes the filters. A batched call lists the traces of its requests in `traceIds`. */
export function matches(fields: Fields, ms: number, { traceId, services, level, sinceMs }: Query): boolean {
  const traces: unknown[] = [fields.traceId].concat(fields.traceIds)
  return (
    (traceId === undefined || traces.some((trace) => String(trace).toLowerCase() === traceId)) &&
    (services === undefined || services.includes(fields.service as string)) &&
    // An unknown level may be a severe one.
    (level === undefined || (typeof fields.level === 'string' && (levelIndex(fields.level) ?? level) >= level)) &&
    (sinceMs === undefined || ms >= sinceMs)
  )
}

function levelIndex(level: string): number | undefined {
  const index = (logLevels as readonly string[]).indexOf(level.toLowerCase())
  return index < 0 ? undefined : index
}

function parseSince(text: string, nowMs: number): number | undefined {
  // A number alone is rejected: the configuration reads it as seconds, but a reader of logs may mean minutes.
  const spanMs = /[a-z]$/.test(text) ? durationMs(text) : undefined
  if (spanMs !== undefined) return nowMs - spanMs
  // JavaScript takes a date alone as UTC, a date with a time as local.
  const ms = isoTime.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}
