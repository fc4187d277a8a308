/** One process under supervision: started, started again when it dies, stopped. */

import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { lowerPriority } from '#common/process/priority.ts'
import { openLogFile } from './log-file.ts'
import type { Reaper } from './reaper.ts'

/** What is executed. */
export interface Command {
  file: string
  args: string[]
  options?: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'>
}

/** A program that is to be kept running. */
export interface Program {
  name: string
  /** Asked before each start. */
  command(): Command | Promise<Command>
  stopSignal?: NodeJS.Signals
  /** How long it may take to stop before it is killed. */
  graceMs: number
  /** How long after its start it yields the CPU to the others: its nice value is 10 from then on. Without, it never does. */
  yieldsAfterMs?: number
  /** The Docker container that it runs in, if it does. */
  container?: { name: string; remove(): Promise<void> }
}

/** A program that runs, or is about to. */
export interface Supervised {
  stop(): Promise<void>
  kill(): void
}

/**
 * When the programs of the log yield the CPU. Their start needs it: at a load average of 44 to 57 on two cores, log-sink is
 * ready after 18 to 27 s, and with nice value 10 from its start, or from Kafka's, after one to three minutes.
 */
export const backgroundAfterMs = 30_000

const steadyMs = 10_000
const longestDelayMs = 10_000

/** Starts a program and keeps it running; says on one line each when it dies. */
export function supervise(program: Program, logPath: string, reaper: Reaper, say: (line: string) => void): Supervised {
  const { name, stopSignal = 'SIGTERM', graceMs, container } = program
  const log = openLogFile(logPath)
  const stopping = new AbortController()
  let child: ChildProcess | undefined
  let yielding: NodeJS.Timeout | undefined
  let quickDeaths = 0
  if (container) reaper.container(container.name)

  /** Runs the program once and resolves to how it ended. */
  async function runOnce(): Promise<string> {
    await container?.remove()
    const { file, args, options } = await program.command()
    if (stopping.signal.aborted) return 'not started'
    // A process group of its own: the terminal's Ctrl-C reaches the supervisor alone.
    child = spawn(file, args, { ...options, detached: true, stdio: ['ignore', log.fd, log.fd] })
    if (child.pid !== undefined) {
      reaper.started(child.pid, stopSignal)
      yielding = yieldLater(child.pid)
    }
    const [code, signal] = await once(child, 'exit').finally(() => clearTimeout(yielding))
    killGroup()
    reaper.ended(child.pid as number)
    return signal ? `signal ${signal}` : `exit code ${code}`
  }

  function yieldLater(pid: number): NodeJS.Timeout | undefined {
    const { yieldsAfterMs } = program
    return yieldsAfterMs === undefined ? undefined : setTimeout(() => lowerPriority(10, pid), yieldsAfterMs)
  }

  async function keepRunning(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAt = Date.now()
      const ending = await runOnce().catch((error) => `not started, ${error.message}`)
      if (stopping.signal.aborted) break
      const quick = Date.now() - startedAt < steadyMs
      const delayMs = quick ? Math.min(1000 * 2 ** quickDeaths, longestDelayMs) : 1000
      quickDeaths = quick ? quickDeaths + 1 : 0
      const reason = quick && !ending.startsWith('signal') ? log.lastLine() : ''
      const when = delayMs > 1000 ? ` in ${delayMs / 1000} s` : ''
      say(`${name} ended (${ending}); starting it again${when}${reason && `; its log ends: ${reason}`}`)
      await sleep(delayMs, undefined, { signal: stopping.signal }).catch(() => {})
    }
    await container?.remove()
    log.close()
  }

  function killGroup(): void {
    try {
      if (child?.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch {
      // Nobody is left in the group.
    }
  }

  const ended = keepRunning()

  return {
    async stop() {
      stopping.abort()
      child?.kill(stopSignal)
      const timer = setTimeout(() => {
        say(`${name} did not stop within ${graceMs / 1000} s; killing it`)
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
