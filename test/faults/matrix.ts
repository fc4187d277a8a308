/** Injects the faults of one target, and compares the responses with the fault matrix and the invariants. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { collectionErrors, untilCollected } from './collected-lines.ts'
import { columns, type ProbeName, probeNames } from './columns.ts'
import { type Expectation, expectations } from './expectations.ts'
import { deletionsComplete, finalChecks } from './final-checks.ts'
import { createFixtures, type Fixtures } from './fixtures.ts'
import { contractOf, createLedger, type Ledger, slackMs } from './ledger.ts'
import { dependencyUp, watchLogAndMetrics } from './log-and-metrics.ts'
import { mailFigures } from './mail-figures.ts'
import { type Outcome, probeAll, untilAllAnswer } from './probes.ts'
import type { Fault, Target } from './targets.ts'
import { createTestbed, type Testbed } from './testbed.ts'

/** The responses of one column under a fault. */
export interface Seen {
  statuses: number[]
  slowestMs: number
  /** From the end of the fault to the first response that is no server error. */
  recoveryMs: number
}

export interface FaultResult {
  target: Target
  fault: Fault
  seen: Record<ProbeName, Seen>
}

interface MatrixResult {
  results: FaultResult[]
  violations: string[]
  requests: number
}

type Outcomes = Record<ProbeName, Outcome>

/** The limit of a response that waits for no timeout; it allows for a busy machine. */
const fastMs = 2000
/** The first requests of services that have just started also compile their code. */
const startMs = 2000
/** Recovery is promised within 2 s; the slack is for a busy machine. */
const recoveryLimitMs = 2000 + slackMs
/**
 * Before the recovery from an empty database, user-svc creates the tables: on a busy machine, that took 1.8 of 2.9 s. With
 * more time, a migration that fails once and is repeated after 5 s would not show.
 */
const schemaMs = 1000
const detectionTimeoutMs = 30_000
/** After the detection, drivers still wait for the responses of a frozen engine for a second. */
const settleMs: Partial<Record<Fault, number>> = { frozen: 2000 }

/** @param brokers running brokers for targets other than Kafka */
export async function runMatrix(
  target: Target,
  t: Pick<Test, 'teardown'>,
  print: (line: string) => void,
  brokers?: string
): Promise<MatrixResult> {
  const testbed = await createTestbed(t, { brokers: target === 'kafka' ? undefined : brokers })
  const ledger = createLedger(testbed.product.call)
  const results: FaultResult[] = []
  const violations: string[] = []
  for (const expectation of expectations.filter((each) => each.target === target)) {
    const { fault } = expectation
    const startedAt = performance.now()
    const { seen, errors } = await runFault(testbed, ledger, expectation, print).catch((error) => {
      throw new Error(`${target} ${fault}: ${testbed.exits().join()}`, { cause: error })
    })
    results.push({ target, fault, seen })
    violations.push(...errors.map((each) => `${target} ${fault}: ${each}`))
    const responses = probeNames.map((name) => `${name} ${seen[name].statuses} ${Math.round(seen[name].slowestMs)} ms`)
    print(`${target} ${fault} (${Math.round(performance.now() - startedAt)} ms): ${responses.join(', ')}`)
    print(`  recovery: ${probeNames.map((name) => Math.round(seen[name].recoveryMs)).join(' ')} ms`)
  }
  violations.push(...(await finalChecks(testbed, ledger)))
  // An emptied database has lost its emails. The others wait for a running user-svc, which the next check stops.
  if (target !== 'postgres') violations.push(...(await lostEmails(testbed, print)))
  violations.push(...(await collectionErrors(testbed, ledger, target === 'kafka')))
  return { results, violations: [...violations, ...ledger.broken], requests: ledger.journal.length }
}

async function lostEmails(testbed: Testbed, print: (line: string) => void): Promise<string[]> {
  const figures = await mailFigures(testbed)
  if ('waiting' in figures) return [`emails still wait for delivery: ${figures.waiting}`]
  const { due, sent, duplicated, lost } = figures
  print(`emails: ${due} due, ${sent} sent, ${duplicated} duplicated, ${lost} lost`)
  return lost === 0 ? [] : [`${lost} emails were lost`]
}

async function runFault(testbed: Testbed, ledger: Ledger, expectation: Expectation, print: (line: string) => void) {
  const { target, fault, up } = expectation
  const requests = ledger.journal.length
  const [first, second, last] = (await Promise.all([1, 2, 3].map(() => createFixtures(ledger, testbed.mail)))) as [
    Fixtures,
    Fixtures,
    Fixtures
  ]
  for (const line of shedLines(testbed, ledger.journal.slice(requests))) print(`  repeated: ${line}`)
  const errors: string[] = []
  if (fault === 'back and empty') await expectLoss(testbed, ledger, target)
  // A restart of the services resets their metrics.
  const early = fault === 'absent at start' ? undefined : await watchLogAndMetrics(testbed, ledger)
  const sent = ledger.journal.length
  await testbed.inject(target, fault)
  const endWatch = early ?? (await watchLogAndMetrics(testbed, ledger))
  let recovery = fault === 'back and empty' ? await untilAllAnswer(ledger, last) : undefined
  const atOnce = expectation.atOnce && (await probeAll(ledger, first))
  const detected = await untilDependencyUp(testbed, target, up)
  if (detected !== up) errors.push(`dependency_up is ${detected}, must be ${up}`)
  await sleep(settleMs[fault] ?? 0)
  const then = await probeAll(ledger, second)
  if (recovery === undefined) {
    await testbed.heal(target, fault)
    recovery = await untilAllAnswer(ledger, last)
  }
  if ((await untilDependencyUp(testbed, target, 1)) !== 1) errors.push('dependency_up stays 0 after the fault')
  const atOnceMs = fault === 'absent at start' ? fastMs + startMs : fastMs
  errors.push(...unexpected('at once', expectation.atOnce, atOnce, atOnceMs))
  errors.push(...unexpected('then', expectation.detected, then, fastMs))
  const limitMs = recoveryLimitMs + (target === 'postgres' && fault === 'back and empty' ? schemaMs : 0)
  errors.push(...slowRecoveries(recovery, limitMs), ...(await endWatch()))
  if (errors.length > 0) errors.push(...dependencyLines(testbed), ...shedLines(testbed, ledger.journal.slice(sent)))
  return { seen: seenOf(atOnce ? [atOnce, then] : [then], recovery), errors }
}

/** The lines of the requests that were answered 503. */
function shedLines({ product }: Testbed, journal: Ledger['journal']): string[] {
  const shed = journal.filter(({ status }) => status === 503)
  const lines = (['gateway', 'user-svc', 'session-svc'] as const).flatMap((name) => product.output(name).split('\n'))
  return lines.filter((line) => shed.some(({ traceId }) => line.includes(traceId)))
}

/** The newest lines of user-svc about its dependencies: why a recovery took long. */
function dependencyLines({ product }: Testbed): string[] {
  const lines = product.output('user-svc').split('\n')
  return lines.filter((line) => /"event":"(dependency|database)_/.test(line)).slice(-20)
}

/** Prepares the ledger for a target that loses its data. */
async function expectLoss(testbed: Testbed, ledger: Ledger, target: Target): Promise<void> {
  // The broker loses the lines that log-sink has not read, those of deletions in the outbox included.
  if (target === 'kafka') {
    await deletionsComplete(testbed)
    await untilCollected(testbed, ledger)
  }
  if (target === 'postgres') ledger.forgetAccounts()
  if (target === 'redis') ledger.forgetSessions()
}

async function untilDependencyUp(testbed: Testbed, target: Target, up: number): Promise<number | undefined> {
  const endsAt = Date.now() + detectionTimeoutMs
  for (;;) {
    const value = await dependencyUp(testbed, target)
    if (value === up || Date.now() > endsAt) return value
    await sleep(50)
  }
}

function unexpected(
  phase: string,
  expected: Expectation['atOnce'],
  outcomes: Outcomes | undefined,
  fastMs: number
): string[] {
  if (expected === undefined || outcomes === undefined) return []
  return probeNames.flatMap((name) => {
    const { statuses, time } = expected[name]
    const { status, tookMs } = outcomes[name]
    const limitMs = time === 'fast' ? fastMs : contractOf(columns[name].route).budgetMs + slackMs
    return [
      ...(statuses.includes(status) ? [] : [`${phase}: ${name} answered ${status}, must be ${statuses}`]),
      ...(tookMs <= limitMs ? [] : [`${phase}: ${name} took ${Math.round(tookMs)} ms, limit ${limitMs} ms`])
    ]
  })
}

function slowRecoveries(recovery: Record<ProbeName, number>, limitMs: number): string[] {
  return probeNames
    .filter((name) => recovery[name] > limitMs)
    .map((name) => `${name} answered ${Math.round(recovery[name])} ms after the fault, limit ${limitMs} ms`)
}

function seenOf(phases: Outcomes[], recovery: Record<ProbeName, number>): Record<ProbeName, Seen> {
  const entries = probeNames.map((name) => {
    const outcomes = phases.map((outcomes) => outcomes[name])
    const slowestMs = Math.max(...outcomes.map(({ tookMs }) => tookMs))
    return [name, { statuses: outcomes.map(({ status }) => status), slowestMs, recoveryMs: recovery[name] }] as const
  })
  return Object.fromEntries(entries) as Record<ProbeName, Seen>
}
