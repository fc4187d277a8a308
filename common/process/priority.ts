/** Lowers the CPU priority of background processes and threads. Linux only. */

import { readdirSync, writeFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import { processStat } from './process-identity.ts'

/**
 * Lowers the priority of the session that a process leads, if it leads one. Outside containers, the kernel divides the
 * CPU between sessions (`autogroup` in sched(7)), and the nice value of a thread counts only within its session.
 *
 * With it, the p99 of `GET /session` in a storm of logins is 18 to 29 ms, without it 38 to 54 ms: `make bench ROWS=storm`.
 *
 * @returns whether the priority was lowered
 */
export function lowerSessionPriority(nice: number, pid = process.pid): boolean {
  const [, , , session] = processStat(pid)
  if (session !== String(pid)) return false
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
    return true
  } catch {
    // The kernel does not group by session, or this process has no permission.
    return false
  }
}

/** Lowers the priority of a process: of its session, and of each thread that it has and will have. */
export function lowerPriority(nice: number, pid = process.pid): void {
  lowerSessionPriority(nice, pid)
  // A new thread inherits the priority, but a thread may have started another before it was lowered.
  while (threadsOf(pid).filter((thread) => lowerThreadPriority(nice, thread)).length > 0);
}

/** Lowers the priority of one thread. @returns whether it was higher before */
export function lowerThreadPriority(nice: number, thread: number): boolean {
  try {
    if (getPriority(thread) >= nice) return false
    setPriority(thread, nice)
    return true
  } catch {
    // The thread has ended, or this process has no permission.
    return false
  }
}

/** The ids of the threads of a process; none on systems other than Linux. */
export function threadsOf(pid: number | 'self'): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}
