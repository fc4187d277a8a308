/** A small shell process that outlives a killed supervisor for as long as it takes to end what that one had started. */

import { spawn } from 'node:child_process'
import { join } from 'node:path'

/** What is told to the reaper. */
export interface Reaper {
  pid: number
  started(pgid: number, stopSignal: NodeJS.Signals): void
  ended(pgid: number): void
  /** A container is removed whether it runs or not. */
  container(name: string): void
  /** Nothing is left to end: the reaper leaves. */
  goodbye(): void
}

/** Starts the reaper; `graceMs` is what it leaves to the processes before it kills them. */
export function startReaper(graceMs: number): Reaper {
  const script = join(import.meta.dirname, 'reaper.sh')
  const child = spawn('sh', [script, String(Math.ceil(graceMs / 1000))], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore']
  })
  // Without a reaper everything else still works.
  child.on('error', () => {})
  child.stdin.on('error', () => {})
  child.unref()
  const tell = (line: string) => child.stdin.write(`${line}\n`)
  return {
    pid: child.pid ?? 0,
    started: (pgid, stopSignal) => tell(`started ${pgid} ${stopSignal.replace('SIG', '')}`),
    ended: (pgid) => tell(`ended ${pgid}`),
    container: (name) => tell(`container ${name}`),
    goodbye: () => child.stdin.end('goodbye\n')
  }
}
