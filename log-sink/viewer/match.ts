/** Decides which lines are asked for, and when they happened. */

import { logLevels } from '#common/config/shared-sections.ts'
import { type Instant, isBefore, lineInstant } from './instant.ts'
import { headTime, isText, type LineHead, readHead } from './line-head.ts'
import { filters, levelRank, type Query } from './query.ts'

/**
 * Looks at the line from `start` to `end`, without its line end.
 *
 * @param previous the time of the line before it; a line without a readable time has the same
 * @returns when it happened, or undefined if it is not asked for
 */
export type Matcher = (bytes: Buffer, start: number, end: number, previous: Instant) => Instant | undefined

/** The matcher of a query. */
export function createMatcher(query: Query): Matcher {
  return filters(query) ? createFilter(query) : everyLine
}

const everyLine: Matcher = (bytes, start, end, previous) => {
  const ms = headTime(bytes, start, end)
  if (!Number.isNaN(ms)) return { ms, ns: 0 }
  return lineInstant(parseLine(bytes, start, end)?.time) ?? previous
}

function createFilter(query: Query): Matcher {
  const services = query.services && [...query.services].map((name) => Buffer.from(name))
  const refusedLevels = logLevels.slice(0, query.level ?? 0).map((level) => Buffer.from(level))

  function refuses({ ms, level, levelEnd, service, serviceEnd }: LineHead, bytes: Buffer): boolean {
    if (query.since && isBefore({ ms, ns: 0 }, query.since)) return true
    if (services?.every((name) => !isText(name, bytes, service, serviceEnd))) return true
    return refusedLevels.some((name) => isText(name, bytes, level, levelEnd))
  }

  return (bytes, start, end, previous) => {
    // The head of a line is enough to refuse it; only a line that is whole can be taken.
    const head = readHead(bytes, start, end)
    if (head && refuses(head, bytes)) return undefined
    const line = parseLine(bytes, start, end)
    if (line === undefined) return undefined
    const instant = head ? { ms: head.ms, ns: 0 } : (lineInstant(line.time) ?? previous)
    const { traceId, services, level, since } = query
    const taken =
      takesTrace(line, traceId) &&
      (services === undefined || services.has(line.service as string)) &&
      takesLevel(line.level, level) &&
      (since === undefined || !isBefore(instant, since))
    return taken ? instant : undefined
  }
}

/** Also a call that was made for several requests at once, if this was one of them. */
function takesTrace({ traceId, traceIds }: Record<string, unknown>, asked: string | undefined): boolean {
  if (asked === undefined) return true
  const traces = Array.isArray(traceIds) ? [traceId, ...traceIds] : [traceId]
  return traces.some((trace) => typeof trace === 'string' && trace.toLowerCase() === asked)
}

/** A level that nobody knows may be a severe one: it is taken. */
function takesLevel(lineLevel: unknown, level: number | undefined): boolean {
  if (level === undefined) return true
  return typeof lineLevel === 'string' && (levelRank(lineLevel) ?? level) >= level
}

/** The object that a line holds, or undefined if it holds none. */
export function parseLine(bytes: Buffer, start = 0, end = bytes.length): Record<string, unknown> | undefined {
  try {
    const line: unknown = JSON.parse(bytes.toString('utf8', start, end))
    return typeof line === 'object' && line !== null && !Array.isArray(line)
      ? (line as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
