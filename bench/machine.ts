/** What the machine does beside the bench: where others take a good part of it, figures say little. Linux only. */

import { readFileSync } from 'node:fs'
import { processTime, ticksPerSecond } from './processes.ts'

/** From this many cores on, taken by others, figures are not to be relied on. */
export const busyCores = 0.1

/** Begins to watch. @returns how many cores others, a hypervisor included, have taken on average since */
export function watchOthers(): () => number {
  const before = othersSeconds()
  const startedAt = performance.now()
  return () => Math.max(0, ((othersSeconds() - before) * 1000) / (performance.now() - startedAt))
}

function othersSeconds(): number {
  // user nice system idle iowait irq softirq steal; guests are counted in user and nice already.
  const columns = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]?.split(' ').map(Number) ?? []
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = columns
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond - processTime(process.pid)
}
