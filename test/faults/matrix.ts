/** Runs the faults of one target, and holds what is seen against the table of expectations and the invariants. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { collectionFaults, untilCollected } from './collected.ts'
import { type Expectation, expectations } from './expectations.ts'
import { createLaboratory, type Fault, type Laboratory, type Target } from './laboratory.ts'
import { createLedger, type Ledger, slackMs } from './ledger.ts'
import {
  budgetsMs,
  type Cast,
  type Outcome,
  type ProbeName,
  prepareCast,
  probeAll,
  probeNames,
  untilAllAnswer
} from './probes.ts'
import { deletionsComplete, settle } from './settle.ts'
import { dependencyUp, watch } from './witness.ts'

/** What was seen of a route under a fault. */
export interface Seen {
  statuses: number[]
  slowestMs: number
  /** From the return of the target to the first answer that is no server's error. */
  backMs: number
}

/** What was seen under a fault. */
export interface CellResults {
  target: Target
  fault: Fault
  routes: Record<ProbeName, Seen>
}

export interface MatrixResult {
  results: CellResults[]
  /** What was not as it should be; nothing, if all is well. */
  complaints: string[]
  requests: number
}

/** An answer that needs to wait for nothing, on a busy machine. */
const fastMs = 2000
/** A return must be noticed within 2 s; the rest is for a busy machine. */
const backWithinMs = 2000 + slackMs
const knownWithinMs = 30_000
// A frozen engine is given up by the driver a second after it is known to be down.
const restMs: Partial<Record<Fault, number>> = { frozen: 2000 }

/** @param brokers for targets other than Kafka, brokers that run already */
export async function runMatrix(
  target: Target,
  t: Pick<Test, 'teardown'>,
  say: (line: string) => void,
  brokers?: string
): Promise<MatrixResult> {
  const laboratory = await createLaboratory(t, { brokers: target === 'kafka' ? undefined : brokers })
  const ledger = createLedger(laboratory.product.call)
  const results: CellResults[] = []
  const complaints: string[] = []
  for (const expectation of expectations.filter((each) => each.target === target)) {
    const { fault } = expectation
    const startedAt = performance.now()
    const { seen, wrong } = await runFault(laboratory, ledger, expectation).catch((error) => {
      throw new Error(`${target} ${fault}: ${laboratory.endings().join()}`, { cause: error })
    })
    results.push({ target, fault, routes: seen })
    complaints.push(...wrong.map((each) => `${target} ${fault}: ${each}`))
    const shown = probeNames.map((name) => `${name} ${seen[name].statuses} ${Math.round(seen[name].slowestMs)} ms`)
    say(`${target} ${fault} (${Math.round(performance.now() - startedAt)} ms): ${shown.join(', ')}`)
    const back = probeNames.map((name) => Math.round(seen[name].backMs))
    say(`  first answers after its return: ${back.join(' ')} ms`)
  }
  complaints.push(
    ...(await settle(laboratory, ledger)),
    ...(await collectionFaults(laboratory, ledger, target === 'kafka'))
  )
  return { results, complaints: [...complaints, ...ledger.broken], requests: ledger.journal.length }
}

async function runFault(laboratory: Laboratory, ledger: Ledger, expectation: Expectation) {
  const { target, fault, up } = expectation
  const [first, second, last] = (await Promise.all([1, 2, 3].map(() => prepareCast(ledger)))) as [Cast, Cast, Cast]
  const wrong: string[] = []
  const isEmpty = fault === 'back and empty'
  let back: Record<ProbeName, number> | undefined
  // A broker loses the lines that the sink has not read yet, those of deletions that the relay completes included.
  if (isEmpty && target === 'kafka') {
    await deletionsComplete(laboratory)
    await untilCollected(laboratory, ledger)
  }
  if (isEmpty && target === 'postgres') ledger.forgetAccounts()
  if (isEmpty && target === 'redis') ledger.forgetSessions()
  // Services that are started anew begin to count anew.
  const early = fault === 'absent at start' ? undefined : await watch(laboratory, ledger)
  await laboratory.inject(target, fault)
  const end = early ?? (await watch(laboratory, ledger))
  if (isEmpty) back = await untilAllAnswer(ledger, last)
  const atOnce = expectation.atOnce && (await probeAll(ledger, first))
  const known = await untilKnown(laboratory, target, up)
  if (known !== up) wrong.push(`dependency_up is ${known} and not ${up}`)
  await sleep(restMs[fault] ?? 0)
  const then = await probeAll(ledger, second)
  if (!isEmpty) {
    await laboratory.heal(target, fault)
    back = await untilAllAnswer(ledger, last)
  }
  if ((await untilKnown(laboratory, target, 1)) !== 1) wrong.push('dependency_up stays 0 after the return')
  for (const [phase, expected, outcomes] of [
    ['at once', expectation.atOnce, atOnce],
    ['then', expectation.then, then]
  ] as const) {
    if (expected && outcomes) wrong.push(...unexpected(expected, outcomes).map((each) => `${phase}: ${each}`))
  }
  const seen = Object.fromEntries(
    probeNames.map((name) => [name, seenOf(name, back as Record<ProbeName, number>, atOnce, then)])
  ) as Record<ProbeName, Seen>
  for (const name of probeNames) {
    const { backMs } = seen[name]
    if (backMs > backWithinMs) wrong.push(`${name} answers ${Math.round(backMs)} ms after the return`)
  }
  wrong.push(...(await end()))
  return { seen, wrong }
}

async function untilKnown(laboratory: Laboratory, target: Target, up: number): Promise<number | undefined> {
  const endsAt = Date.now() + knownWithinMs
  for (;;) {
    const value = await dependencyUp(laboratory, target)
    if (value === up || Date.now() > endsAt) return value
    await sleep(50)
  }
}

function unexpected(expected: Expectation['then'], outcomes: Record<ProbeName, Outcome>): string[] {
  return probeNames.flatMap((name) => {
    const { statuses, time } = expected[name]
    const { status, tookMs } = outcomes[name]
    const withinMs = time === 'fast' ? fastMs : budgetsMs[name] + slackMs
    return [
      ...(statuses.includes(status) ? [] : [`${name} answered ${status} and not ${statuses}`]),
      ...(tookMs <= withinMs ? [] : [`${name} took ${Math.round(tookMs)} ms and not ${withinMs}`])
    ]
  })
}

function seenOf(
  name: ProbeName,
  back: Record<ProbeName, number>,
  atOnce: Record<ProbeName, Outcome> | undefined,
  then: Record<ProbeName, Outcome>
): Seen {
  const outcomes = [...(atOnce ? [atOnce[name]] : []), then[name]]
  return {
    statuses: outcomes.map(({ status }) => status),
    slowestMs: Math.max(...outcomes.map(({ tookMs }) => tookMs)),
    backMs: back[name]
  }
}
