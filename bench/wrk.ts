/** Full load on a route: each connection sends its next request after each response. wrk takes little CPU itself. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installPackages } from '../stack/engines/debian-package.ts'
import { isInstalled, runTool } from '../stack/tool.ts'

interface FullLoad {
  connections: number
  seconds: number
  /** Each request carries the next token. */
  tokens: readonly string[]
}

interface Outcome {
  requests: number
  seconds: number
  rejected: number
  unanswered: number
}

const graceMs = 20_000

/**
 * Sends requests for a time.
 *
 * @throws Error if a request was rejected or not answered
 */
export async function fullLoad(
  url: string,
  { connections, seconds, tokens }: FullLoad
): Promise<{ requests: number; perSecond: number }> {
  if (!(await isInstalled('wrk'))) await installPackages(['wrk'], console.error, new AbortController().signal)
  const folder = mkdtempSync(join(tmpdir(), 'load-'))
  try {
    const file = join(folder, 'tokens')
    writeFileSync(file, `${tokens.join('\n')}\n`, { mode: 0o600 })
    const options = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s']
    const script = join(import.meta.dirname, 'wrk.lua')
    const output = await runTool('wrk', [...options, '-s', script, url, '--', file], {
      timeoutMs: seconds * 1000 + graceMs
    })
    const outcome = readOutcome(output)
    if (outcome.requests === 0 || outcome.rejected > 0 || outcome.unanswered > 0)
      throw new Error(`${url}: not every request succeeded: ${JSON.stringify(outcome)}`)
    return { requests: outcome.requests, perSecond: outcome.requests / outcome.seconds }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The line of wrk.lua in the output of wrk. */
function readOutcome(output: string): Outcome {
  const line = output.split('\n').findLast((each) => each.startsWith('{'))
  if (line === undefined) throw new Error(`wrk printed no outcome:\n${output}`)
  return JSON.parse(line) as Outcome
}
