/** One supervised process: started, restarted when it ends, stopped. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { lowerPriority } from '#common/process/priority.ts'
import { backoffMs } from '#common/time/backoff.ts'
import { openLogFile } from './log-file.ts'
import type { Reaper } from './reaper.ts'

export interface Command {
  file: string
  args: string[]
  options?: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'>
}

/** A program that is kept running. */
export interface Program {
  name: string
  /** Called before each start. */
  command(): Command | Promise<Command>
  stopSignal?: NodeJS.Signals
  /** How long it may take to stop before it is killed. */
  graceMs: number
  /** From this time after its start the program has nice value 10. By default it never has. */
  yieldsAfterMs?: number
  /** The Docker container that it runs in, if any. */
  container?: { name: string; remove(): Promise<void> }
}

export interface Supervised {
  stop(): Promise<void>
  kill(): void
}

/**
 * When log-sink and Kafka yield the CPU. Their start needs the CPU: at a load average of 44 to 57 on two cores, log-sink is
 * ready after 18 to 27 s, and after one to three minutes with nice value 10 from its start or from Kafka's.
 */
export const backgroundAfterMs = 30_000

// A program that ends earlier failed to start: its next start is delayed longer, and the report quotes its log.
const steadyMs = 10_000
const restartBackoff = { baseMs: 1000, capMs: 10_000, jitter: 0 }

/** Starts a program and keeps it running; prints a line when it ends. */
export function supervise(
  program: Program,
  logPath: string,
  reaper: Reaper,
  print: (line: string) => void
): Supervised {
  const { name, stopSignal = 'SIGTERM', graceMs, container } = program
  const log = openLogFile(logPath)
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let failedStarts = 0
  if (container) reaper.container(container.name)

  /** Runs the program once and resolves to how it ended. */
  async function runOnce(): Promise<string> {
    await container?.remove()
    const { file, args, options } = await program.command()
    if (stopping.signal.aborted) return 'not started'
    // A process group of its own: the terminal's Ctrl-C reaches the supervisor alone.
    child = spawn(file, args, { ...options, detached: true, stdio: ['ignore', log.fd, log.fd] })
    if (child.pid !== undefined) reaper.started(child.pid, stopSignal)
    const yielding = yieldLater(child.pid)
    const [code, signal] = await once(child, 'exit').finally(() => clearTimeout(yielding))
    killGroup()
    reaper.ended(child.pid as number)
    return signal ? `signal ${signal}` : `exit code ${code}`
  }

  function yieldLater(pid: number | undefined): NodeJS.Timeout | undefined {
    const { yieldsAfterMs } = program
    if (pid === undefined || yieldsAfterMs === undefined) return undefined
    return setTimeout(() => lowerPriority(10, pid), yieldsAfterMs)
  }

  async function keepRunning(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAt = performance.now()
      const ending = await runOnce().catch((error) => `not started, ${error.message}`)
      if (stopping.signal.aborted) break
      const isFailedStart = performance.now() - startedAt < steadyMs
      const delayMs = backoffMs(isFailedStart ? failedStarts : 0, restartBackoff)
      failedStarts = isFailedStart ? failedStarts + 1 : 0
      const reason = isFailedStart && !ending.startsWith('signal') ? log.lastLine() : ''
      print(
        `${name} ended (${ending}); restarting it in ${delayMs / 1000} s${reason && `. Its log ends with: ${reason}`}`
      )
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
    await container?.remove()
    log.close()
  }

  function killGroup(): void {
    try {
      if (child?.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // The group has no process left.
    }
  }

  const ended = keepRunning()

  return {
    async stop() {
      stopping.abort()
      child?.kill(stopSignal)
      const timer = setTimeout(() => {
        print(`${name} did not stop within ${graceMs / 1000} s; killing it`)
        killGroup()
      }, graceMs)
      await ended
      clearTimeout(timer)
    },
    kill() {
      stopping.abort()
      killGroup()
    }
  }
}
