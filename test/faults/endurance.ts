/** Random faults under a steady load for a chosen time, and at the end every invariant. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { collectionFaults } from './collected.ts'
import { createLaboratory } from './laboratory.ts'
import { createLedger, type Ledger } from './ledger.ts'
import { planOf, type Step } from './plan.ts'
import { type Cast, prepareCast, untilAllAnswer } from './probes.ts'
import { settle } from './settle.ts'
import { startUsers } from './users.ts'
import { watchMetrics } from './witness.ts'

export interface EnduranceOptions {
  seconds: number
  seed: number
  say: (line: string) => void
}

const userCount = 6
const healthyWithinMs = 15_000

/** @returns the invariants that did not hold, each on a line */
export async function endure(t: Pick<Test, 'teardown'>, { seconds, seed, say }: EnduranceOptions): Promise<string[]> {
  const laboratory = await createLaboratory(t, { env: { LOG_STDOUT: 'error' } })
  const ledger = createLedger(laboratory.product.call)
  const endMetrics = await watchMetrics(laboratory, ledger)
  const endUsers = startUsers(ledger, userCount)
  const injected = new Map<string, number>()
  const complaints: string[] = []
  let longest = { ms: 0, after: 'nothing' }
  const startedAt = performance.now()

  for (const { faults, lastsMs, pauseMs } of planOf(seed)) {
    if (performance.now() - startedAt > seconds * 1000) break
    const name = nameOf(faults)
    const cast = await healthyCast(ledger)
    say(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(7)} s  ${name} for ${lastsMs} ms`)
    if (cast === undefined) complaints.push(`it does not get well before ${name}`)
    await Promise.all(faults.map(({ target, fault }) => laboratory.inject(target, fault)))
    for (const { target, fault } of faults) {
      injected.set(`${target} ${fault}`, (injected.get(`${target} ${fault}`) ?? 0) + 1)
    }
    await sleep(lastsMs)
    await Promise.all(faults.map(({ target, fault }) => laboratory.heal(target, fault)))
    // Nothing but the end of a process can make this fail, which is told below.
    const times = cast ? Object.values(await untilAllAnswer(ledger, cast).catch(() => ({}))) : []
    const slowest = Math.max(0, ...times)
    if (slowest > longest.ms) longest = { ms: slowest, after: name }
    const ended = laboratory.endings()
    if (ended.length > 0) return ended
    await sleep(pauseMs)
  }
  await endUsers()
  if ((await healthyCast(ledger)) === undefined) complaints.push('it does not get well')
  complaints.push(...(await settle(laboratory, ledger)))
  complaints.push(...(await endMetrics()), ...(await collectionFaults(laboratory, ledger, false)))
  summarize(ledger, injected, longest, say)
  return [...ledger.broken, ...complaints]
}

const nameOf = (faults: Step['faults']) => faults.map(({ target, fault }) => `${target} ${fault}`).join(' and ')

/** Accounts and sessions made while all is well; what was left of the last fault may take its time to be over. */
async function healthyCast(ledger: Ledger): Promise<Cast | undefined> {
  const endsAt = Date.now() + healthyWithinMs
  while (Date.now() < endsAt) {
    const cast = await prepareCast(ledger).catch(() => undefined)
    if (cast) return cast
    await sleep(100)
  }
  return undefined
}

function summarize(
  { journal, broken }: Ledger,
  injected: Map<string, number>,
  longest: { ms: number; after: string },
  say: (line: string) => void
): void {
  const count = (values: string[]) =>
    [...Map.groupBy(values, (value) => value)].map(([value, all]) => `  ${value}: ${all.length}`).sort()
  say(`\n${journal.length} requests, ${journal.length > 0 ? broken.length : 'no'} broken invariants`)
  say(count(journal.map(({ route, status }) => `${route} ${status}`)).join('\n'))
  say(`${[...injected.values()].reduce((sum, each) => sum + each, 0)} faults`)
  say(
    [...injected]
      .map(([name, times]) => `  ${name}: ${times}`)
      .sort()
      .join('\n')
  )
  say(
    `longest time from a return to the first answers of all routes: ${Math.round(longest.ms)} ms, after ${longest.after}`
  )
  say(`slowest answer: ${Math.round(journal.reduce((slowest, { tookMs }) => Math.max(slowest, tookMs), 0))} ms`)
}
