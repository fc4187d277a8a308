/** Load from a process of its own, and what became of it. */

import { runTool } from '../stack/tool.ts'

/** What a load has met. */
export interface LoadResult {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  /** Answers by their status, and requests that got none. */
  ok: number
  other: number
}

/** Sends a request again and again over some connections for a time. */
export async function load(
  url: string,
  headers: Record<string, string>,
  { connections, seconds }: { connections: number; seconds: number }
): Promise<LoadResult> {
  const flags = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}=${value}`])
  const args = ['--json', '--no-progress', '-c', String(connections), '-d', String(seconds), ...flags, url]
  const output = await runTool('autocannon', args)
  const result = JSON.parse(output.slice(output.indexOf('{'))) as {
    requests: { average: number }
    latency: { p50: number; p99: number }
    '2xx': number
    non2xx: number
    errors: number
  }
  return {
    requestsPerSecond: result.requests.average,
    p50Ms: result.latency.p50,
    p99Ms: result.latency.p99,
    ok: result['2xx'],
    other: result.non2xx + result.errors
  }
}
