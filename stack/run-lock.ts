/** The lease on the data directory of a run: it waits for the processes of a killed run. */

import { readFileSync, rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { acquireLease, leaseHolder, renewMs } from '#common/process/directory-lease.ts'
import { isAlive } from '#common/process/process-identity.ts'

/** The lock of this run. */
export interface RunLock {
  release(): void
}

const reaperWaitMs = 20_000
// For a run in another container.
const staleMs = 3 * renewMs

/**
 * Takes the lock, or returns the process id of the run that holds it.
 *
 * @param reaperPid the process that ends the processes of this run if it is killed; until then, ports and data are in use
 */
export async function takeRunLock(
  path: string,
  reaperPid: number,
  print: (line: string) => void
): Promise<RunLock | number> {
  if (leaseHolder(path, staleMs) === undefined) await reaped(path, print)
  const lease = acquireLease(path, staleMs, { reaperPid })
  if (lease === undefined) return leaseHolder(path, staleMs)?.pid ?? 0
  const renewal = setInterval(() => lease.renew(), renewMs).unref()
  return {
    release() {
      clearInterval(renewal)
      rmSync(path, { force: true })
    }
  }
}

/** Resolves when the reaper of a killed run has ended, or after 20 s. */
async function reaped(path: string, print: (line: string) => void): Promise<void> {
  const pid = reaperOf(path)
  if (pid === undefined || !isAlive(pid)) return
  print('waiting for the processes of the last run to end')
  const giveUpAt = Date.now() + reaperWaitMs
  while (isAlive(pid) && Date.now() < giveUpAt) await sleep(100)
}

function reaperOf(path: string): number | undefined {
  try {
    return (JSON.parse(readFileSync(path, 'utf8')) as { reaperPid: number }).reaperPid
  } catch {
    // There is no lock, or a full disk left it incomplete.
    return undefined
  }
}
