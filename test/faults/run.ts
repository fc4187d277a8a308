/**
 * `make test-faults`: injects random faults under load and checks the linearizability of the product, or writes the page of
 * the fault matrix.
 */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { onStop } from '../../stack/stop-signals.ts'
import { checkLinearizability, longLoad, startBed } from '../linearizability/check.ts'
import { buildChecker } from '../linearizability/checker.ts'
import { printResult, unseen } from '../linearizability/report.ts'
import { type FaultResult, runMatrix } from './matrix.ts'
import { pagePath, renderPage } from './page.ts'
import { injectRandomFaults } from './random-faults.ts'
import { type Target, targets } from './targets.ts'

process.chdir(join(import.meta.dirname, '..', '..'))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string' },
    seed: { type: 'string' },
    operations: { type: 'string' },
    page: { type: 'boolean' }
  }
})
const print = (line: string) => console.log(line)

type End = () => unknown
const ends = new Set<End[]>()

/** Runs `work` with teardowns of its own. */
async function withTeardown<T>(work: (t: { teardown: (end: End) => void }) => Promise<T>): Promise<T> {
  const own: End[] = []
  ends.add(own)
  try {
    return await work({ teardown: (end) => void own.unshift(end) })
  } finally {
    ends.delete(own)
    for (const end of own) await end()
  }
}

async function matrix(chosen: readonly Target[]): Promise<string[]> {
  const results: FaultResult[] = []
  const violations: string[] = []
  for (const target of chosen) {
    const result = await withTeardown((t) => runMatrix(target, t as never, print))
    results.push(...result.results)
    violations.push(...result.violations)
  }
  if (values.page && chosen === targets && violations.length === 0) {
    mkdirSync(dirname(pagePath), { recursive: true })
    writeFileSync(pagePath, renderPage(results))
    print(`wrote ${pagePath}`)
  }
  return violations
}

async function random(seed: number): Promise<string[]> {
  const seconds = Number(values.seconds || 120)
  print(`random faults for ${seconds} s; SEED=${seed} repeats their choice and order`)
  const broken = await withTeardown((t) => injectRandomFaults(t as never, { seconds, seed, print }))
  print(`SEED=${seed}: ${broken.length} broken invariants`)
  return broken
}

async function linearizability(seed: number): Promise<string[]> {
  const operations = Number(values.operations || 100_000)
  const missing = operations === 0 ? '0 operations' : await buildChecker()
  if (missing !== undefined) {
    print(`skipped the check of linearizability: ${missing}`)
    return []
  }
  const result = await withTeardown(async (t) => {
    const bed = await startBed(t as never, { print })
    return checkLinearizability(bed, { operations, seed, ...longLoad })
  })
  printResult(result, seed, print)
  return [
    ...result.violations.map(({ user, result }) => `the history of ${user} is not linearizable: ${result}`),
    ...unseen(result).map((success) => `no operation was answered "${success}"`)
  ]
}

async function all(): Promise<string[]> {
  const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31))
  return [...(await random(seed)), ...(await linearizability(seed))]
}

onStop(
  async (why) => {
    print(`${why}: stopping`)
    for (const end of [...ends].flat()) await end()
    process.exit(130)
  },
  () => process.exit(130)
)
const broken = await (values.page || positionals.length > 0
  ? matrix(positionals.length > 0 ? (positionals as Target[]) : targets)
  : all())
for (const each of broken) print(`BROKEN: ${each}`)
process.exit(broken.length > 0 ? 1 : 0)
