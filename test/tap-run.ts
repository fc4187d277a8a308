/** Runs the test files under tap. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { type Counts, reportTap } from './tap-report.ts'

const patterns = [
  '{common,gateway,user-svc,session-svc,log-sink,log-viewer,stack,bench}/test/**/*.test.ts',
  'test/**/*.test.ts'
]

/** Runs the named files, or all. A run that fails without a failed test counts as one failure. */
export async function runTap(
  files: string[],
  env: NodeJS.ProcessEnv,
  print: (text: string) => void,
  signal: AbortSignal
): Promise<Counts> {
  const chosen = files.length > 0 ? files : globSync(patterns).sort()
  const child = spawn('tap', ['run', '--reporter=tap', ...chosen], {
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
