/** Which processes come second when processors are short: those that nobody waits for as he waits for an answer. Linux only. */

import { writeFileSync } from 'node:fs'
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
