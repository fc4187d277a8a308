/** The CPU that other processes take during a measurement. Linux only. */

import { readFileSync } from 'node:fs'
import { processTime, ticksPerSecond } from './processes.ts'

/** Above this many cores of other processes, absolute figures are unreliable. */
export const busyCores = 0.1

/** @returns a function for the cores that other processes and the hypervisor have taken on average since this call */
export function watchOthers(): () => number {
  const before = othersSeconds()
  const startedAt = performance.now()
  return () => Math.max(0, ((othersSeconds() - before) * 1000) / (performance.now() - startedAt))
}

function othersSeconds(): number {
  // user nice system idle iowait irq softirq steal; user and nice include guests.
  const columns = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]?.split(' ').map(Number) ?? []
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = columns
  return (user + nice + system + irq + softirq + steal) / ticksPerSecond - processTime(process.pid)
}
