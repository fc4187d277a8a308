/** What the log and the metrics say of a stretch of time, held against what was answered in it. */

import { setTimeout as sleep } from 'node:timers/promises'
import { password, type ServiceName } from '../support/product.ts'
import type { Laboratory, Target } from './laboratory.ts'
import type { Entry, Ledger } from './ledger.ts'

interface Line {
  event?: string
  level: string
  service: string
  traceId?: string
  code?: string
  statusCode?: number
}

const services = ['gateway', 'user-svc', 'session-svc'] as const
// Who tells by `dependency_up` whether a target answers.
const observers: Record<Target, ServiceName> = {
  postgres: 'user-svc',
  redis: 'session-svc',
  kafka: 'gateway',
  'user-svc': 'gateway',
  'session-svc': 'gateway'
}
const codes: Record<number, string> = { 503: 'unavailable', 504: 'deadline_exceeded' }
const linesWithinMs = 5000

/** What `dependency_up` says of a target; nothing if that cannot be asked. */
export async function dependencyUp({ product }: Laboratory, target: Target): Promise<number | undefined> {
  const text = await product.ops(observers[target], '/metrics').then(
    (response) => response.text(),
    () => ''
  )
  const value = new RegExp(`^dependency_up\\{dependency="${target}"\\} (\\d)$`, 'm').exec(text)?.[1]
  return value === undefined ? undefined : Number(value)
}

async function errorCounts({ product }: Laboratory): Promise<{ client: number; server: number }> {
  const text = await (await product.ops('gateway', '/metrics')).text()
  const counts = { client: 0, server: 0 }
  for (const [, kind, value] of text.matchAll(
    /^request_errors_total\{error_class="(client|server)",[^}]*\} (\d+)$/gm
  )) {
    counts[kind as 'client' | 'server'] += Number(value)
  }
  return counts
}

/** Begins to count; the function that it returns says which errors were counted as somebody else's. */
export async function watchMetrics(laboratory: Laboratory, { journal }: Ledger): Promise<() => Promise<string[]>> {
  const from = journal.length
  const before = await errorCounts(laboratory)
  return async function end(): Promise<string[]> {
    const after = await errorCounts(laboratory)
    const statuses = journal.slice(from).map(({ status }) => status)
    const expected = {
      client: statuses.filter((status) => status >= 400 && status < 500).length,
      server: statuses.filter((status) => status >= 500).length
    }
    return (['client', 'server'] as const)
      .map((kind) => ({ kind, counted: after[kind] - before[kind] }))
      .filter(({ kind, counted }) => counted !== expected[kind])
      .map(({ kind, counted }) => `request_errors_total: ${counted} of class ${kind} for ${expected[kind]} answers`)
  }
}

/** Begins to watch log and metrics; the function that it returns says what was not as it should be. */
export async function watch(laboratory: Laboratory, ledger: Ledger): Promise<() => Promise<string[]>> {
  const { product } = laboratory
  const offsets = new Map(services.map((name) => [name, product.output(name).length]))
  const from = ledger.journal.length
  const endMetrics = await watchMetrics(laboratory, ledger)

  /** What each service has written meanwhile, whole lines only. */
  const written = (name: (typeof services)[number]) =>
    product.output(name).slice(offsets.get(name)).split('\n').slice(0, -1)

  return async function end(): Promise<string[]> {
    const entries = ledger.journal.slice(from)
    const complaints = await endMetrics()
    await answersAreLogged(() => written('gateway'), entries.length)
    const lines: Line[] = []
    for (const text of services.flatMap(written)) {
      try {
        lines.push(JSON.parse(text))
      } catch {
        complaints.push(`this is no log line: ${text}`)
      }
    }
    complaints.push(...wrongLines(lines, entries), ...leaks(services.flatMap(written).join('\n'), laboratory, ledger))
    return complaints
  }
}

async function answersAreLogged(lines: () => string[], count: number): Promise<void> {
  const endsAt = Date.now() + linesWithinMs
  while (lines().filter((line) => line.includes('"event":"http_request"')).length < count && Date.now() < endsAt) {
    await sleep(20)
  }
}

/** Each answer has its line; a server's error has a second one with its code, and a client's error is no error of ours. */
function wrongLines(lines: Line[], entries: Entry[]): string[] {
  const byTrace = Map.groupBy(lines, ({ traceId }) => traceId ?? '')
  const complaints = entries.flatMap(({ route, status, traceId }) => {
    const own = byTrace.get(traceId) ?? []
    const answered = own.filter(({ event }) => event === 'http_request')
    const failed = own.filter(({ event }) => event === 'request_failed')
    const say = (what: string) => `${route} ${status}: ${what} (trace ${traceId})`
    const found: string[] = []
    if (answered.length !== 1 || answered[0]?.statusCode !== status) found.push(say(`${answered.length} lines of it`))
    if (status >= 500 && (failed.length !== 1 || failed[0]?.code !== codes[status] || failed[0]?.level !== 'error')) {
      found.push(say(`${failed.length} lines that it failed, with ${failed[0]?.code}`))
    }
    if (status < 500 && failed.length > 0) found.push(say('a line that it failed'))
    const errors = own.filter(({ level }) => level === 'error' || level === 'fatal')
    if (status >= 400 && status < 500 && errors.length > 0) {
      found.push(say(`a client's error is logged as one of ${errors[0]?.service}`))
    }
    return found
  })
  const crashes = lines.filter(({ event, level }) => event === 'sys_crash' || level === 'fatal')
  return [...complaints, ...crashes.map(({ service }) => `${service} crashed`)]
}

/** Nothing that a user sent, and none of our own secrets, is in any line. */
function leaks(text: string, { secrets }: Laboratory, { accounts }: Ledger): string[] {
  const hidden = [
    ...[...secrets, password].map((value) => ['a secret', value]),
    ...accounts.map(({ email }) => ['an address', email]),
    ...accounts.flatMap(({ sessions }) => sessions.map(({ token }) => ['a token', token]))
  ] as [string, string][]
  return hidden.filter(([, value]) => text.includes(value)).map(([what]) => `${what} is in the log`)
}
