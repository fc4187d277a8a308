/** Runs wrk, which takes next to nothing of the processor itself. */

import { join } from 'node:path'
import { installPackages } from '../stack/engines/debian-package.ts'
import { UnavailableError } from '../stack/engines/engine.ts'
import { isInstalled, runTool } from '../stack/tool.ts'

/** What wrk is to do. */
interface WrkRun {
  url: string
  connections: number
  seconds: number
  /** A script of this folder, and its arguments. */
  script: string
  args: readonly string[]
}

// Enough for the process to start and to say what it found.
export const graceMs = 20_000

let installed: Promise<boolean> | undefined

/** Whether there is one; it is installed where that is possible. */
export function hasWrk(): Promise<boolean> {
  installed ??= install()
  return installed
}

async function install(): Promise<boolean> {
  if (await isInstalled('wrk')) return true
  try {
    await installPackages(['wrk'], console.error, new AbortController().signal)
    return true
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error
    console.error(`${error.message}; going on with clients that take more of the processor themselves`)
    return false
  }
}

/** Resolves to all that it wrote. */
export function runWrk({ url, connections, seconds, script, args }: WrkRun): Promise<string> {
  const load = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '10s']
  const all = [...load, '-s', join(import.meta.dirname, script), url, '--', ...args]
  return runTool('wrk', all, { timeoutMs: seconds * 1000 + graceMs })
}

/** The JSON that a script of a load has written behind whatever else. */
export function readOutcome<T>(output: string): T {
  const line = output.split('\n').findLast((each) => /^[{[]/.test(each))
  if (line === undefined) throw new Error(`the load said nothing of what it met:\n${output}`)
  return JSON.parse(line) as T
}
