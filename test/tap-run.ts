/**
 * Runs the test files, each in a process of its own. The runner of tap would add hooks for coverage and source maps, which cost each
 * file 0.5 to 0.9 s of CPU and each process that a test starts 0.5 s.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Counts, reportTap, sum } from './tap-report.ts'

interface Lanes {
  files: string[]
  /** Files at a time. */
  jobs: number
}

// For a busy machine: limits that a test checks are its own. tap ends a file in time, unless its event loop is blocked.
const fileTimeoutSeconds = 600
const killSeconds = 660

// Mostly waits until engines and services notice a fault or a restart: a third file at a time uses the idle CPU meanwhile.
const waits = /\/(matrix|log)-[^/]*$/

/** The tests of parts, which wait often, then those of the whole product: two products fill the cores of a small machine. */
function phasesOf(named: string[]): Lanes[][] {
  if (named.length > 0) return [[{ files: named, jobs: 2 }]]
  const parts = '{common,gateway,user-svc,session-svc,log-sink,log-viewer,stack,supply-chain,bench}/test/**/*.test.ts'
  const whole = globSync('test/**/*.test.ts').sort()
  return [
    [{ files: globSync(parts).sort(), jobs: 3 }],
    [
      { files: whole.filter((file) => !waits.test(file)), jobs: 2 },
      { files: whole.filter((file) => waits.test(file)), jobs: 1 }
    ]
  ]
}

/** Runs the named files, or all. */
export async function runTap(
  named: string[],
  env: NodeJS.ProcessEnv,
  print: (text: string) => void,
  signal: AbortSignal
): Promise<Counts> {
  const counts: Counts[] = []
  for (const phase of phasesOf(named)) {
    const workers = phase.flatMap(({ files, jobs }) => Array(jobs).fill(files.values()))
    const work = async (queue: Iterable<string>, job: number) => {
      for (const file of queue) counts.push(reportTap(await runFile(file, { env, signal, job }), print))
    }
    await Promise.all(workers.map(work))
  }
  return sum(counts)
}

interface FileOptions {
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  /** Distinguishes files that run at a time. */
  job?: number
  /** A program that runs another one, with its arguments. */
  wrapper?: string[]
}

/** @returns the TAP of the file as a subtest; a process that fails without a failed test is a failed test */
export async function runFile(file: string, { env, signal, job = 0, wrapper = [] }: FileOptions): Promise<string[]> {
  const startedAt = performance.now()
  const command = [...wrapper, process.execPath, file]
  const child = spawn(command[0] as string, command.slice(1), {
    env: { ...env, TAP_JOB_ID: String(job), TAP_CHILD_ID: '1', TAP_TIMEOUT: String(fileTimeoutSeconds) },
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
    timeout: killSeconds * 1000,
    killSignal: 'SIGKILL'
  })
  const lines: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(`    ${line}`))
  const [code, killedBy] = await once(child, 'close')
  const plan = lines.find((line) => /^ {4}1\.\.\d/.test(line))
  // The plan of a file that skips all of its tests.
  if (code === 0 && plan?.startsWith('    1..0')) return [`ok 1 - ${file} # SKIP`]
  const result = `1 - ${file} # time=${performance.now() - startedAt}ms`
  if (code === 0 && plan !== undefined) return [`# Subtest: ${file}`, ...lines, `ok ${result}`]
  const reason = code === 0 ? 'ended without a plan of its tests' : `ended with ${killedBy ?? `exit code ${code}`}`
  return [`# Subtest: ${file}`, ...lines, `not ok ${result}`, '  ---', `  ${reason}`, '  ...']
}
