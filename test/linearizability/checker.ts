/** Builds the checker, which needs Go and the module Porcupine, and checks a file of histories. */

import { execFile, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { Operation } from './history.ts'

const root = join(import.meta.dirname, '..', '..')
const source = join(import.meta.dirname, 'checker')
const program = join(root, '.tools', 'bin', 'linearizability-checker')
const run = promisify(execFile)

/** The check of one address. */
export interface Checked {
  user: string
  /** `Unknown`: not decided in time. */
  result: 'Ok' | 'Illegal' | 'Unknown'
  operations: number
  millis: number
  history?: { user: string; operations: Operation[] }
  /** The longest order of steps that the model permits. */
  longest?: string[]
}

/** @returns the reason why the checker cannot be built here; nothing if it was built. @throws Error if its code is wrong */
export async function buildChecker(): Promise<string | undefined> {
  const hasGo = await run('go', ['version']).catch(() => undefined)
  if (!hasGo) return 'Go is not installed'
  const downloaded = await run('go', ['mod', 'download'], { cwd: source, timeout: 60_000 }).catch(() => undefined)
  if (!downloaded) return 'the Go module github.com/anishathalye/porcupine cannot be downloaded'
  mkdirSync(join(root, '.tools', 'bin'), { recursive: true })
  await run('go', ['build', '-trimpath', '-o', program, '.'], { cwd: source })
  return undefined
}

/** Checks a file of histories. @param onChecked gets the result of each address */
export async function checkHistories(
  path: string,
  onChecked: (checked: Checked) => void,
  timeout = '60s'
): Promise<void> {
  const child = spawn(program, ['-timeout', timeout, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
  for await (const line of createInterface({ input: child.stdout })) onChecked(JSON.parse(line))
  const code = await exited
  if (code !== 0) throw new Error(`the checker ended with exit code ${code}`)
}
