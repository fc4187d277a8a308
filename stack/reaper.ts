/** A shell process that outlives a killed supervisor until it has ended the processes that the supervisor started. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** Keeps the list of processes that the reaper ends. */
export interface Reaper {
  pid: number
  started(pgid: number, stopSignal: NodeJS.Signals): void
  ended(pgid: number): void
  /** A container that the reaper removes. */
  container(name: string): void
  /** Ends the reaper without ending anything else. */
  dismiss(): void
}

/** Starts the reaper. Processes have `graceMs` to stop before it kills them. */
export function startReaper(graceMs: number): Reaper {
  const script = join(import.meta.dirname, 'reaper.sh')
  const child = spawn('sh', [script, String(Math.ceil(graceMs / 1000))], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore']
  })
  // Everything else works without a reaper.
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  const send = (line: string) => child.stdin.write(`${line}\n`)
  return {
    pid: child.pid ?? 0,
    started: (pgid, stopSignal) => send(`started ${pgid} ${stopSignal.replace('SIG', '')}`),
    ended: (pgid) => send(`ended ${pgid}`),
    container: (name) => send(`container ${name}`),
    dismiss: () => child.stdin.end('dismiss\n')
  }
}
