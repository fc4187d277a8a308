/** What is asked for, as the variables TRACE, SERVICE, LEVEL, SINCE and FOLLOW say it. */

import { ConfigError } from '#common/config/load.ts'
import { logLevels } from '#common/config/shared-sections.ts'
import { type Instant, parseInstant } from './instant.ts'

/** Which lines are shown; what is undefined filters nothing. */
export interface Query {
  /** 32 hexadecimal digits in lower case. */
  traceId: string | undefined
  services: ReadonlySet<string> | undefined
  /** The least severe level, as its place in `logLevels`. */
  level: number | undefined
  since: Instant | undefined
  /** Go on with the lines that are still to come. */
  follow: boolean
}

type Variable = 'TRACE' | 'SERVICE' | 'LEVEL' | 'SINCE' | 'FOLLOW'

/**
 * Reads the variables; an empty one is as good as none.
 *
 * @throws {ConfigError} that names the variable, what it got and what it takes
 */
export function readQuery(environment: NodeJS.ProcessEnv, nowMs: number): Query {
  const read = <T>(name: Variable, accepts: string, parse: (text: string) => T | undefined): T | undefined => {
    const text = environment[name]?.trim()
    if (!text) return undefined
    const value = parse(text)
    if (value === undefined) throw new ConfigError(`${name}: got ${JSON.stringify(text)}, takes ${accepts}`)
    return value
  }
  return {
    traceId: read('TRACE', 'a trace id of 32 hexadecimal digits, or a traceparent', parseTrace),
    services: read('SERVICE', 'names of services, separated by commas', parseNames),
    level: read('LEVEL', `one of ${logLevels.join(', ')}`, levelRank),
    since: read('SINCE', 'a time span such as 15m, 2h, 7d, or an ISO 8601 time', (text) => parseSince(text, nowMs)),
    follow: read('FOLLOW', '1 or 0', (text) => (text === '1' ? true : text === '0' ? false : undefined)) ?? false
  }
}

/** The place of a level among `logLevels`, in whatever case it is written. */
export function levelRank(level: string): number | undefined {
  const rank = (logLevels as readonly string[]).indexOf(level.toLowerCase())
  return rank < 0 ? undefined : rank
}

/** Whether it asks for some lines only. */
export function filters({ traceId, services, level, since }: Query): boolean {
  return [traceId, services, level, since].some((part) => part !== undefined)
}

function parseTrace(text: string): string | undefined {
  const match = /^(?:([0-9a-f]{32})|[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?)$/i.exec(text)
  return (match?.[1] ?? match?.[2])?.toLowerCase()
}

function parseNames(text: string): ReadonlySet<string> | undefined {
  const names = text.split(',').flatMap((name) => name.trim() || [])
  return names.length > 0 ? new Set(names) : undefined
}

const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function parseSince(text: string, nowMs: number): Instant | undefined {
  const span = /^(\d{1,9})([smhd])$/.exec(text)
  if (span === null) return parseInstant(text, '')
  return { ms: nowMs - Number(span[1]) * (unitMs[span[2] as string] as number), ns: 0 }
}
