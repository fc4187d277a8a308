/** Load from a process of its own, and what became of it: by wrk, or by autocannon where wrk cannot be had. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installPackages } from '../stack/engines/debian-package.ts'
import { Unavailable } from '../stack/engines/engine.ts'
import { isInstalled, runTool } from '../stack/tool.ts'

/** What is sent. */
export interface Load {
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
export const percentiles = [1, 10, 25, 50, 75, 90, 95, 97.5, 99, 99.5, 99.9, 99.95, 99.99]

// Enough for the process to start and to say what it found.
export const graceMs = 20_000

/** Sends requests for a time. */
export async function load(url: string, what: Load): Promise<LoadResult> {
  const { connections, seconds, tokens = [], pauseMs = 0 } = what
  const folder = mkdtempSync(join(tmpdir(), 'load-'))
  try {
    const file = join(folder, 'tokens')
    writeFileSync(file, `${tokens.join('\n')}\n`, { mode: 0o600 })
    const numbers = [pauseMs, percentiles.join(',')].map(String)
    const [tool, args] = (await hasWrk())
      ? ['wrk', wrkArguments(connections, seconds, url, [file, ...numbers])]
      : [
          process.execPath,
          [join(import.meta.dirname, 'autocannon-load.ts'), url, `${connections}`, `${seconds}`, file, `${pauseMs}`]
        ]
    const output = await runTool(tool, args, { timeoutMs: seconds * 1000 + graceMs })
    const line = output.split('\n').findLast((each) => each.startsWith('{'))
    if (line === undefined) throw new Error(`${tool} said nothing of its load:\n${output}`)
    const result = JSON.parse(line) as Omit<LoadResult, 'requestsPerSecond' | 'p99Ms'>
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

function wrkArguments(connections: number, seconds: number, url: string, script: string[]): string[] {
  const lua = join(import.meta.dirname, 'wrk.lua')
  return ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s', '-s', lua, url, '--', ...script]
}

let wrk: Promise<boolean> | undefined

/** Installs it where that is possible. */
export function hasWrk(): Promise<boolean> {
  wrk ??= installWrk()
  return wrk
}

async function installWrk(): Promise<boolean> {
  if (await isInstalled('wrk')) return true
  try {
    await installPackages(['wrk'], console.error, new AbortController().signal)
    return true
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error
    console.error(`${error.message}; going on with autocannon, which takes more of the processor itself`)
    return false
  }
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
