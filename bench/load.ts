/** Load from a process of its own, and what became of it: by wrk, or by autocannon where wrk cannot be had. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { runTool } from '../stack/tool.ts'
import { graceMs, hasWrk, readOutcome, runWrk } from './wrk.ts'

/** What is sent. */
interface Load {
  connections: number
  seconds: number
  /** Each request carries the next of them. Without any, it carries none. */
  tokens?: readonly string[]
  /** How long a connection pauses between an answer and its next request, on average. Without, it does not. */
  pauseMs?: number
}

/** What a load has met. */
export interface LoadResult {
  requests: number
  seconds: number
  requestsPerSecond: number
  p99Ms: number
  /** Latencies by percentile; 100 is the slowest. */
  latenciesMs: Record<string, number>
  /** Answers of 400 and above, and requests that got none. */
  refused: number
  unanswered: number
  /** Answers by status; known only of a load that pauses. */
  statuses: Record<string, number>
}

/** The percentiles that are asked for, beside the slowest. */
const percentiles = [1, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99]

/** Sends requests for a time. */
export async function load(url: string, what: Load): Promise<LoadResult> {
  const { connections, seconds, tokens = [], pauseMs = 0 } = what
  const folder = mkdtempSync(join(tmpdir(), 'load-'))
  try {
    const file = join(folder, 'tokens')
    writeFileSync(file, `${tokens.join('\n')}\n`, { mode: 0o600 })
    const numbers = [pauseMs, percentiles.join(',')].map(String)
    const output = (await hasWrk())
      ? await runWrk({ url, connections, seconds, script: 'wrk.lua', args: [file, ...numbers] })
      : await runTool(
          process.execPath,
          [join(import.meta.dirname, 'autocannon-load.ts'), url, `${connections}`, `${seconds}`, file, `${pauseMs}`],
          { timeoutMs: seconds * 1000 + graceMs }
        )
    const result = readOutcome<Omit<LoadResult, 'requestsPerSecond' | 'p99Ms'>>(output)
    return {
      ...result,
      requestsPerSecond: result.requests / result.seconds,
      p99Ms: result.latenciesMs['99'] ?? Number.NaN
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The same, of which every request must be answered and none refused. @throws Error if it is not so */
export async function cleanLoad(url: string, what: Load): Promise<LoadResult> {
  const result = await load(url, what)
  const { requests, refused, unanswered } = result
  if (requests === 0 || refused > 0 || unanswered > 0) {
    throw new Error(`${url}: of ${requests} requests ${refused} were refused and ${unanswered} not answered`)
  }
  return result
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      token: { type: 'string', multiple: true, default: [] },
      connections: { type: 'string', default: '64' },
      seconds: { type: 'string', default: '10' },
      pause: { type: 'string', default: '0' }
    }
  })
  const [url] = positionals
  if (url === undefined)
    throw new Error('takes a URL, --token (again and again), --connections, --seconds, --pause <ms>')
  const { token: tokens, connections, seconds, pause } = values
  const numbers = { connections: Number(connections), seconds: Number(seconds), pauseMs: Number(pause) }
  console.log(JSON.stringify(await load(url, { tokens, ...numbers }), undefined, 2))
}
