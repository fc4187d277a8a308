/** Starts processes, restarts them when they end, and stops them. None outlives the supervisor, not even a killed one. */

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { startReaper } from './reaper.ts'
import { type Program, type Supervised, supervise } from './supervised.ts'

/** Shows a line to the user. */
export type Print = (line: string) => void

export interface Supervisor {
  /** Starts a program and keeps it running until it is stopped. */
  start(program: Program): void
  /** Stops all programs one after the other: the named ones in this order, then the others. */
  stop(order: readonly string[]): Promise<void>
  /** Kills all programs; a pending `stop` then resolves soon. */
  killAll(): void
  reaperPid: number
}

/** A supervisor whose programs write to `<runDir>/<name>.log`, with hyphens for spaces. */
export function createSupervisor(runDir: string, print: Print): Supervisor {
  mkdirSync(runDir, { recursive: true })
  const reaper = startReaper(8000)
  const programs = new Map<string, Supervised>()
  let stopped = false

  function start(program: Program): void {
    if (stopped) return
    const logPath = join(runDir, `${program.name.replaceAll(' ', '-')}.log`)
    programs.set(program.name, supervise(program, logPath, reaper, print))
  }

  async function stop(order: readonly string[]): Promise<void> {
    stopped = true
    const names = new Set([...order, ...programs.keys()])
    for (const name of names) await programs.get(name)?.stop()
    reaper.dismiss()
  }

  function killAll(): void {
    for (const program of programs.values()) program.kill()
  }

  return { start, stop, killAll, reaperPid: reaper.pid }
}
