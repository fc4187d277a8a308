/** Runs the test files under tap. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Counts, reportTap, sum } from './tap-report.ts'

interface Phase {
  files: string[]
  /** Files at a time. */
  jobs: number
}

/** The tests of parts, which wait often, then those of the whole product: two products fill the cores of a small machine. */
function phasesOf(named: string[]): Phase[] {
  if (named.length > 0) return [{ files: named, jobs: 2 }]
  const parts = '{common,gateway,user-svc,session-svc,log-sink,log-viewer,stack,supply-chain,bench}/test/**/*.test.ts'
  return [
    { files: globSync(parts).sort(), jobs: 3 },
    { files: globSync('test/**/*.test.ts').sort(), jobs: 2 }
  ]
}

/** Runs the named files, or all. A run that fails without a failed test counts as one failure. */
export async function runTap(
  named: string[],
  env: NodeJS.ProcessEnv,
  print: (text: string) => void,
  signal: AbortSignal
): Promise<Counts> {
  const counts: Counts[] = []
  for (const phase of phasesOf(named)) counts.push(await runPhase(phase, env, print, signal))
  return sum(counts)
}

async function runPhase(
  { files, jobs }: Phase,
  env: NodeJS.ProcessEnv,
  print: (text: string) => void,
  signal: AbortSignal
): Promise<Counts> {
  const child = spawn('tap', ['run', '--reporter=tap', `--jobs=${jobs}`, ...files], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    signal
  })
  const exited = once(child, 'exit')
  const counts = await reportTap(createInterface({ input: child.stdout }), print)
  const [code] = await exited
  if (code !== 0 && counts.failed === 0) {
    print(`tap ended with exit code ${code}`)
    counts.failed = 1
  }
  return counts
}
