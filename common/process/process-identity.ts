/** Tells whether a process runs, and whether it is the one that is meant: process ids are used again. */

import { readFileSync } from 'node:fs'

/** Whether a process runs; one that only waits to be collected by its parent does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return processStat(pid)[0] !== 'Z'
}

/** Tells a process from a later one with the same id; empty where that cannot be known (not on Linux). */
export function processStart(pid: number): string {
  // Field 22, the 20th after the name.
  return processStat(pid)[19] ?? ''
}

/** The fields of `/proc/<pid>/stat` that follow the name, which stands in parentheses and may hold anything. */
export function processStat(pid: number): string[] {
  let line = ''
  try {
    line = readFileSync(`/proc/${pid}/stat`, 'utf8')
  } catch {
    // It has ended, or this is no Linux.
  }
  return line.slice(line.lastIndexOf(')') + 2).split(' ')
}
