/** Which processes come second when processors are short: those that nobody waits for as he waits for an answer. Linux only. */

import { readdirSync, writeFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { processStat } from './process-identity.ts'

/**
 * Lowers the priority of all processes and threads of the session that a process leads; one that it shares with
 * others, such as that of a terminal, is left alone. Where the kernel groups by session (`autogroup` in sched(7)), the
 * nice value of a thread counts only against threads of its own session.
 *
 * @returns whether it was done
 */
export function lowerSessionPriority(nice: number, pid = process.pid): boolean {
  const [, , , session] = processStat(pid)
  if (session !== String(pid)) return false
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
    return true
  } catch {
    // The kernel does not group by session, or it is not permitted here.
    return false
  }
}

/**
 * Lowers the priority of a process as a whole: of its session if it leads one, and of each thread that it has and will
 * have. What is not permitted here stays as it is.
 */
export function lowerPriority(nice: number, pid = process.pid): void {
  lowerSessionPriority(nice, pid)
  // What a thread starts has its priority, but a thread may have started another before it was lowered.
  while (threadsOf(pid).filter((thread) => lowerThreadPriority(nice, thread)).length > 0);
}

/** Lowers that of one thread. @returns whether it was higher, and is so no more */
export function lowerThreadPriority(nice: number, thread: number): boolean {
  try {
    if (getPriority(thread) >= nice) return false
    setPriority(thread, nice)
    return true
  } catch {
    // It has ended, or it is not permitted here: then it competes like any other.
    return false
  }
}

/** The ids of the threads of a process; none where the system does not tell (not on Linux). */
export function threadsOf(pid: number | 'self'): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}
