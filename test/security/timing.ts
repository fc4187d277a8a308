/** Response times that could show whether an account exists: the row `enumeration` of the bench, with 10,000 samples of each kind. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Part } from './part.ts'

const samples = 10_000

export const measureTimes: Part = async ({ signal }) => {
  const args = ['bench/run.ts', '--rows=enumeration', `--samples=${samples}`]
  const [code] = await once(spawn(process.execPath, args, { stdio: 'inherit', signal }), 'exit')
  const details = `${samples} samples of each kind, idle and loaded; the rows are above`
  return [{ name: 'response times', outcome: code === 0 ? 'passed' : 'failed', details }]
}
