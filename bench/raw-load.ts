/** Runs raw-client.ts: load from a process of its own that needs little CPU. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runScript } from './script.ts'

/** What is sent. */
export interface RawLoad {
  url: string
  connections: number
  seconds: number
  /** Whole requests (`rawRequest`), which the client sends in this order and again from the first. */
  requests: string[]
  /** Open loop: requests start at that rate, whatever happens to the ones before. Without it: closed loop. */
  ratePerSecond?: number
  /** The load ends early when each request was sent. */
  sendsEachOnce?: boolean
}

/** What the client met. */
export interface RawResult {
  requests: number
  /** Responses of 2xx. */
  perSecond: number
  /** Requests by status; 0: without a response. */
  statuses: Record<string, number>
  /** By percentile; 100 is the slowest. From the intended start of a request to its response. */
  latenciesMs: Record<string, number>
  /** How late requests started, for want of a connection or of CPU. */
  latenessP99Ms: number
  /** What the client took itself. */
  cpuCores: number
}

const graceMs = 30_000

/** Sends the requests. */
export async function rawLoad(load: RawLoad): Promise<RawResult> {
  const folder = mkdtempSync(join(tmpdir(), 'load-'))
  try {
    const file = join(folder, 'load.json')
    // Requests hold tokens and passwords.
    writeFileSync(file, JSON.stringify(load), { mode: 0o600 })
    return await runScript('raw-client.ts', [file], { timeoutMs: load.seconds * 1000 + graceMs })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
