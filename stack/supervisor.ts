/** Starts processes, starts them again when they die, and stops them; none outlives the supervisor, however that ends. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startReaper } from './reaper.ts'
import { type Program, type Supervised, supervise } from './supervised.ts'

/** What callers may do with the processes that they hand over. */
export interface Supervisor {
  /** Starts a program and keeps it running until it is stopped. */
  start(program: Program): void
  /** Stops all, one after the other: those named, in that order, then the rest. */
  stop(order: readonly string[]): Promise<void>
  /** Kills all at once; the `stop` that waits for them ends soon after. */
  hurry(): void
  reaperPid: number
}

/** A supervisor whose processes write to `<runDir>/<name>.log`, spaces as hyphens; `say` gets the lines for the terminal. */
export function createSupervisor(runDir: string, say: (line: string) => void): Supervisor {
  mkdirSync(runDir, { recursive: true })
  const reaper = startReaper(8000)
  const running = new Map<string, Supervised>()
  let stopped = false

  function start(program: Program): void {
    if (stopped) return
    running.set(program.name, supervise(program, join(runDir, `${program.name.replaceAll(' ', '-')}.log`), reaper, say))
  }

  async function stop(order: readonly string[]): Promise<void> {
    stopped = true
    const names = new Set([...order, ...running.keys()])
    for (const name of names) await running.get(name)?.stop()
    reaper.goodbye()
  }

  function hurry(): void {
    for (const supervised of running.values()) supervised.kill()
  }

  return { start, stop, hurry, reaperPid: reaper.pid }
}
