/** Runs storm-client.ts, which logs in from a process of its own. */

import { runScript } from './script.ts'
import type { StormAnswer, StormOptions } from './storm-client.ts'

// What is under way at the end is waited for.
const graceMs = 30_000

/** When an answer came (ms since the epoch), and its status (0: none came). */
type Answered = readonly [at: number, status: number, ...unknown[]]

let networks = 0

/** The second number of the addresses of another storm. */
function nextNetwork(): number {
  networks = (networks % 255) + 1
  return networks
}

/** Resolves to every answer that there was. */
export async function storm(options: Omit<StormOptions, 'network'>): Promise<StormAnswer[]> {
  const timeoutMs = options.seconds * 1000 + graceMs
  return runScript('storm-client.ts', [JSON.stringify({ ...options, network: nextNetwork() })], { timeoutMs })
}

/** How many answers had which status; 0 is no answer. */
export function countStatuses(answers: readonly Answered[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const [, status] of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}
