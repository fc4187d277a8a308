/** Sends the probes of all columns of the fault matrix. */

import { setTimeout as sleep } from 'node:timers/promises'
import { columns, type ProbeName, probeNames } from './columns.ts'
import type { Fixtures } from './fixtures.ts'
import type { Ledger } from './ledger.ts'

export interface Outcome {
  status: number
  tookMs: number
}

/** Sends all probes at the same time. */
export async function probeAll(ledger: Ledger, fixtures: Fixtures): Promise<Record<ProbeName, Outcome>> {
  const outcomes = await Promise.all(
    probeNames.map(async (name) => {
      const startedAt = performance.now()
      const { status } = await columns[name].send(ledger, fixtures)
      return [name, { status, tookMs: performance.now() - startedAt }] as const
    })
  )
  return Object.fromEntries(outcomes) as Record<ProbeName, Outcome>
}

const recoveryTimeoutMs = 30_000
const shortestPauseMs = 20

/**
 * Repeats each probe until it is answered without a server error. The pauses grow, or on a busy machine the probes would take
 * the CPU from the recovery. Each time is thus exact to 10 %.
 *
 * @returns the milliseconds of each
 */
export async function untilAllAnswer(ledger: Ledger, fixtures: Fixtures): Promise<Record<ProbeName, number>> {
  const startedAt = performance.now()
  const times = await Promise.all(
    probeNames.map(async (name) => {
      for (;;) {
        const { status } = await columns[name].send(ledger, fixtures)
        const sinceMs = performance.now() - startedAt
        if ((status > 0 && status < 500) || sinceMs > recoveryTimeoutMs) return [name, sinceMs] as const
        await sleep(Math.max(shortestPauseMs, sinceMs / 10))
      }
    })
  )
  return Object.fromEntries(times) as Record<ProbeName, number>
}
