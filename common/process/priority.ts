/** Lowers the CPU priority of background processes and threads. Linux only. */

import { readdirSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'

/** Lowers the priority of each thread that a process has and will have. Without permission, it stays as it is. */
export function lowerPriority(nice: number, pid = process.pid): void {
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
