/** What `make test-faults` does: random faults under load for a time, or the page of the matrix. */

import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { onStop } from '../../stack/stop-signals.ts'
import { endure } from './endurance.ts'
import { type Target, targets } from './laboratory.ts'
import { type CellResults, runMatrix } from './matrix.ts'
import { pagePath, renderPage } from './page.ts'

process.chdir(join(import.meta.dirname, '..', '..'))
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string' }, seed: { type: 'string' }, page: { type: 'boolean' } }
})
const say = (line: string) => console.log(line)

type End = () => unknown
const ends = new Set<End[]>()

/** Runs a part with a laboratory of its own, which ends with it. */
async function within<T>(work: (t: { teardown: (end: End) => void }) => Promise<T>): Promise<T> {
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
  const results: CellResults[] = []
  const complaints: string[] = []
  for (const target of chosen) {
    const result = await within((t) => runMatrix(target, t as never, say))
    results.push(...result.results)
    complaints.push(...result.complaints)
  }
  if (values.page && chosen === targets && complaints.length === 0) {
    mkdirSync(dirname(pagePath), { recursive: true })
    writeFileSync(pagePath, renderPage(results))
    say(`wrote ${pagePath}`)
  }
  return complaints
}

async function random(): Promise<string[]> {
  const seconds = Number(values.seconds || 120)
  const seed = Number(values.seed || Math.floor(Math.random() * 2 ** 31))
  say(`random faults for ${seconds} s; SEED=${seed} repeats their choice and order`)
  const broken = await within((t) => endure(t as never, { seconds, seed, say }))
  say(`SEED=${seed}: ${broken.length} broken invariants`)
  return broken
}

onStop(
  async (why) => {
    say(`${why}: stopping`)
    for (const end of [...ends].flat()) await end()
    process.exit(130)
  },
  () => process.exit(130)
)
const broken = await (values.page || positionals.length > 0
  ? matrix(positionals.length > 0 ? (positionals as Target[]) : targets)
  : random())
for (const each of broken) say(`BROKEN: ${each}`)
process.exit(broken.length > 0 ? 1 : 0)
