/** Injects random faults under a steady load, and checks every invariant at the end. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import type { MailServer } from '../support/mail-server.ts'
import { collectionErrors } from './collected-lines.ts'
import { planOf, type Step } from './fault-plan.ts'
import { finalChecks } from './final-checks.ts'
import { createFixtures, type Fixtures } from './fixtures.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { watchMetrics } from './log-and-metrics.ts'
import { untilAllAnswer } from './probes.ts'
import { createTestbed } from './testbed.ts'
import { startUsers } from './users.ts'

interface RandomFaultOptions {
  seconds: number
  seed: number
  print: (line: string) => void
}

const userCount = 6
const recoveryTimeoutMs = 15_000

/** @returns the violations, each on a line */
export async function injectRandomFaults(
  t: Pick<Test, 'teardown'>,
  { seconds, seed, print }: RandomFaultOptions
): Promise<string[]> {
  const testbed = await createTestbed(t, { env: { LOG_STDOUT: 'error' } })
  const ledger = createLedger(testbed.product.call)
  const endMetrics = await watchMetrics(testbed, ledger)
  const endUsers = startUsers(ledger, userCount)
  const injected = new Map<string, number>()
  const violations: string[] = []
  let longest = { ms: 0, after: 'nothing' }
  const startedAt = performance.now()

  for (const { faults, lastsMs, pauseMs } of planOf(seed)) {
    if (performance.now() - startedAt > seconds * 1000) break
    const name = nameOf(faults)
    const fixtures = await healthyFixtures(ledger, testbed.mail)
    print(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(7)} s  ${name} for ${lastsMs} ms`)
    if (fixtures === undefined) violations.push(`the product did not recover before ${name}`)
    await Promise.all(faults.map(({ target, fault }) => testbed.inject(target, fault)))
    for (const { target, fault } of faults) {
      injected.set(`${target} ${fault}`, (injected.get(`${target} ${fault}`) ?? 0) + 1)
    }
    await sleep(lastsMs)
    await Promise.all(faults.map(({ target, fault }) => testbed.heal(target, fault)))
    // Only the exit of a process makes this fail, and `exits` reports it.
    const times = fixtures ? Object.values(await untilAllAnswer(ledger, fixtures).catch(() => ({}))) : []
    const slowest = Math.max(0, ...times)
    if (slowest > longest.ms) longest = { ms: slowest, after: name }
    const exits = testbed.exits()
    if (exits.length > 0) return exits
    await sleep(pauseMs)
  }
  await endUsers()
  if ((await healthyFixtures(ledger, testbed.mail)) === undefined) violations.push('the product did not recover')
  violations.push(...(await finalChecks(testbed, ledger)))
  violations.push(...(await endMetrics()), ...(await collectionErrors(testbed, ledger, false)))
  summarize(ledger, injected, longest, print)
  return [...ledger.broken, ...violations]
}

const nameOf = (faults: Step['faults']) => faults.map(({ target, fault }) => `${target} ${fault}`).join(' and ')

/** Creates fixtures without a fault; the product may need some time to recover from the last one. */
async function healthyFixtures(ledger: Ledger, mail: MailServer): Promise<Fixtures | undefined> {
  const endsAt = Date.now() + recoveryTimeoutMs
  while (Date.now() < endsAt) {
    const fixtures = await createFixtures(ledger, mail).catch(() => undefined)
    if (fixtures) return fixtures
    await sleep(100)
  }
  return undefined
}

function summarize(
  { journal, broken }: Ledger,
  injected: Map<string, number>,
  longest: { ms: number; after: string },
  print: (line: string) => void
): void {
  const count = (values: string[]) =>
    [...Map.groupBy(values, (value) => value)].map(([value, all]) => `  ${value}: ${all.length}`).sort()
  print(`\n${journal.length} requests, ${journal.length > 0 ? broken.length : 'no'} broken invariants`)
  print(count(journal.map(({ route, status }) => `${route} ${status}`)).join('\n'))
  print(`${[...injected.values()].reduce((sum, each) => sum + each, 0)} faults`)
  print(
    [...injected]
      .map(([name, times]) => `  ${name}: ${times}`)
      .sort()
      .join('\n')
  )
  print(
    `longest time from the end of a fault to a response of every route: ${Math.round(longest.ms)} ms, after ${longest.after}`
  )
  print(`slowest response: ${Math.round(journal.reduce((slowest, { tookMs }) => Math.max(slowest, tookMs), 0))} ms`)
}
