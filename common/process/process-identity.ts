/** Whether a process runs, and its identity: the system reuses process ids. */

import { readFileSync } from 'node:fs'

/** Whether a process runs; a zombie does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return processStat(pid)[0] !== 'Z'
}

/** The start time of a process, which differs from that of a later one with its id; empty on systems other than Linux. */
export function processStart(pid: number): string {
  // Field 22, the 20th after the name.
  return processStat(pid)[19] ?? ''
}

/** The fields of `/proc/<pid>/stat` after the name, which is in parentheses and may contain any character. */
export function processStat(pid: number): string[] {
  let line = ''
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // It has ended, or this is not Linux.
  }
  return line.slice(line.lastIndexOf(')') + 2).split(' ')
}
