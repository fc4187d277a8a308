/** Compares the log lines and metrics of a period with the responses of that period. */

import { setTimeout as sleep } from 'node:timers/promises'
import { password, type ServiceName } from '../support/product.ts'
import type { Entry, Ledger } from './ledger.ts'
import type { Target } from './targets.ts'
import type { Testbed } from './testbed.ts'

interface Line {
  event?: string
  level: string
  service: string
  traceId?: string
  code?: string
  statusCode?: number
}

const services = ['gateway', 'user-svc', 'session-svc'] as const
// The service whose `dependency_up` shows each target.
const observers: Record<Target, ServiceName> = {
  postgres: 'user-svc',
  redis: 'session-svc',
  kafka: 'gateway',
  'user-svc': 'gateway',
  'session-svc': 'gateway',
  mail: 'user-svc'
}
const codes: Record<number, string> = { 503: 'unavailable', 504: 'deadline_exceeded' }
const linesTimeoutMs = 5000

/** The value of `dependency_up` for a target; undefined if the ops port does not answer. */
export async function dependencyUp({ product }: Testbed, target: Target): Promise<number | undefined> {
  const text = await product.ops(observers[target], '/metrics').then(
    (response) => response.text(),
    () => ''
  )
  const value = new RegExp(`^dependency_up\\{dependency="${target}"\\} (\\d)$`, 'm').exec(text)?.[1]
  return value === undefined ? undefined : Number(value)
}

async function errorCounts({ product }: Testbed): Promise<{ client: number; server: number }> {
  const text = await (await product.ops('gateway', '/metrics')).text()
  const counts = { client: 0, server: 0 }
  for (const [, kind, value] of text.matchAll(
    /^request_errors_total\{error_class="(client|server)",[^}]*\} (\d+)$/gm
  )) {
    counts[kind as 'client' | 'server'] += Number(value)
  }
  return counts
}

/** Starts a period. @returns a function that ends it and reports the errors that were counted in the wrong class */
export async function watchMetrics(testbed: Testbed, { journal }: Ledger): Promise<() => Promise<string[]>> {
  const from = journal.length
  const before = await errorCounts(testbed)
  return async function end(): Promise<string[]> {
    const after = await errorCounts(testbed)
    const statuses = journal.slice(from).map(({ status }) => status)
    const expected = {
      client: statuses.filter((status) => status >= 400 && status < 500).length,
      server: statuses.filter((status) => status >= 500).length
    }
    return (['client', 'server'] as const)
      .map((kind) => ({ kind, counted: after[kind] - before[kind] }))
      .filter(({ kind, counted }) => counted !== expected[kind])
      .map(({ kind, counted }) => `request_errors_total: ${counted} of class ${kind} for ${expected[kind]} responses`)
  }
}

/** Starts a period. @returns a function that ends it and reports wrong log lines and metrics */
export async function watchLogAndMetrics(testbed: Testbed, ledger: Ledger): Promise<() => Promise<string[]>> {
  const { product } = testbed
  const offsets = new Map(services.map((name) => [name, product.output(name).length]))
  const from = ledger.journal.length
  const endMetrics = await watchMetrics(testbed, ledger)

  /** The complete lines of a service in the period. */
  const written = (name: (typeof services)[number]) =>
    product.output(name).slice(offsets.get(name)).split('\n').slice(0, -1)

  return async function end(): Promise<string[]> {
    const entries = ledger.journal.slice(from)
    const errors = await endMetrics()
    await untilLogged(() => written('gateway'), entries.length)
    const lines: Line[] = []
    for (const text of services.flatMap(written)) {
      try {
        lines.push(JSON.parse(text))
      } catch {
        errors.push(`no log line: ${text}`)
      }
    }
    errors.push(...wrongLines(lines, entries), ...leaks(services.flatMap(written).join('\n'), testbed, ledger))
    return errors
  }
}

async function untilLogged(lines: () => string[], count: number): Promise<void> {
  const endsAt = Date.now() + linesTimeoutMs
  while (lines().filter((line) => line.includes('"event":"http_request"')).length < count && Date.now() < endsAt) {
    await sleep(20)
  }
}

/** Each response has one line. A server error has a second line with its code; a client error has no line of level error. */
function wrongLines(lines: Line[], entries: Entry[]): string[] {
  const byTrace = Map.groupBy(lines, ({ traceId }) => traceId ?? '')
  const errors = entries.flatMap(({ route, status, traceId }) => {
    const own = byTrace.get(traceId) ?? []
    const requests = own.filter(({ event }) => event === 'http_request')
    const failures = own.filter(({ event }) => event === 'request_failed')
    const describe = (error: string) => `${route} ${status}: ${error} (trace ${traceId})`
    const found: string[] = []
    if (requests.length !== 1 || requests[0]?.statusCode !== status) {
      found.push(describe(`${requests.length} lines http_request`))
    }
    if (
      status >= 500 &&
      (failures.length !== 1 || failures[0]?.code !== codes[status] || failures[0]?.level !== 'error')
    ) {
      found.push(describe(`${failures.length} lines request_failed, code ${failures[0]?.code}`))
    }
    if (status < 500 && failures.length > 0) found.push(describe('a line request_failed'))
    const serverErrors = own.filter(({ level }) => level === 'error' || level === 'fatal')
    if (status >= 400 && status < 500 && serverErrors.length > 0) {
      found.push(describe(`a client error is an error in the log of ${serverErrors[0]?.service}`))
    }
    return found
  })
  const crashes = lines.filter(({ event, level }) => event === 'sys_crash' || level === 'fatal')
  return [...errors, ...crashes.map(({ service }) => `${service} crashed`)]
}

/** The kinds of secrets and personal data that the lines contain. */
function leaks(text: string, { secrets }: Testbed, { accounts }: Ledger): string[] {
  const hidden = [
    ...[...secrets, password].map((value) => ['a secret', value]),
    ...accounts.map(({ email }) => ['an address', email]),
    ...accounts.flatMap(({ passwords }) => passwords.map((value) => ['a password', value])),
    ...accounts.flatMap(({ sessions }) => sessions.map(({ token }) => ['a token', token]))
  ] as [string, string][]
  return hidden.filter(([, value]) => text.includes(value)).map(([kind]) => `the log contains ${kind}`)
}
