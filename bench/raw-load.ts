/** Load from a child process (raw-client.ts) that needs little CPU. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runScript } from './script.ts'

export interface RawLoad {
  url: string
  connections: number
  seconds: number
  /** Whole requests (`rawRequest`), sent in this order and again from the first. */
  requests: string[]
  /** Open loop: requests start at this rate, whatever happens to earlier ones. Without it: closed loop. */
  ratePerSecond?: number
  /** Ends the load early when each request was sent. */
  sendsEachOnce?: boolean
  /** Each connection repeats one request: the n-th connection the n-th request. */
  repeatsPerConnection?: boolean
  /** Pause of a connection in a closed loop after a failed request, 100 by default. */
  cooldownMs?: number
}

/** By percentile: 50, 99, 99.9, 100. A latency is the time from the intended start of a request to its response. */
export type Latencies = Record<string, number>

export interface RawResult {
  requests: number
  /** Responses of 2xx. */
  perSecond: number
  /** Requests by status; 0: without a response. */
  statuses: Record<string, number>
  latenciesMs: Latencies
  latenciesByStatusMs: Record<string, Latencies>
  /** How late requests started, for lack of a connection or of CPU. */
  latenessP99Ms: number
  /** CPU of the client itself. */
  cpuCores: number
}

const graceMs = 30_000

export async function rawLoad(load: RawLoad): Promise<RawResult> {
  const folder = mkdtempSync(join(tmpdir(), 'load-'))
  try {
    const file = join(folder, 'load.json')
    // Requests contain tokens and passwords.
    writeFileSync(file, JSON.stringify(load), { mode: 0o600 })
    return await runScript('raw-client.ts', [file], { timeoutMs: load.seconds * 1000 + graceMs })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Adds up requests by status. */
export function sumStatuses(results: readonly RawResult[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const { statuses } of results)
    for (const [status, count] of Object.entries(statuses)) sum[status] = (sum[status] ?? 0) + count
  return sum
}
