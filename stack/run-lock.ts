/** The lock that keeps two runs off one data directory; that of a dead process is taken over. */

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { isAlive, processStart } from '#common/process/process-identity.ts'

interface Holder {
  pid: number
  startedAt: string
  /** Ends what a killed holder left behind; until it is gone, so are ports and data not free. */
  reaperPid: number
}

/** The lock, once it is held. */
export interface RunLock {
  release(): void
}

const reaperWaitMs = 20_000
const settleMs = 20

/** Takes the lock, or returns the process id of the run that holds it. */
export async function takeRunLock(
  path: string,
  reaperPid: number,
  say: (line: string) => void
): Promise<RunLock | number> {
  const own: Holder = { pid: process.pid, startedAt: processStart(process.pid), reaperPid }
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(own))
  try {
    for (;;) {
      // Someone who judged an older lock stale may just now have put this one aside; whoever is left in place has it.
      const placed = linked(draft, path)
      if (placed) await sleep(settleMs)
      const holder = readHolder(path)
      if (placed && holder?.pid === own.pid) break
      if (holder && isHeldBy(holder)) return holder.pid
      if (holder) await reaped(holder, say)
      removeStale(path, holder)
    }
  } finally {
    rmSync(draft, { force: true })
  }
  return { release: () => rmSync(path, { force: true }) }
}

function linked(draft: string, path: string): boolean {
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function readHolder(path: string): Holder | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Holder
  } catch {
    return undefined
  }
}

function isHeldBy({ pid, startedAt }: Holder): boolean {
  return isAlive(pid) && processStart(pid) === startedAt
}

async function reaped({ reaperPid }: Holder, say: (line: string) => void): Promise<void> {
  if (isAlive(reaperPid)) say('waiting for the processes of the last run to end')
  const giveUpAt = Date.now() + reaperWaitMs
  while (isAlive(reaperPid) && Date.now() < giveUpAt) await sleep(100)
}

/** Removes the lock that was judged stale, and no other that has taken its place since. */
function removeStale(path: string, judged: Holder | undefined): void {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch {
    return
  }
  const found = readHolder(aside)
  if (found?.pid !== judged?.pid && found && isHeldBy(found)) linked(aside, path)
  rmSync(aside, { force: true })
}
