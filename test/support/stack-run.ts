/** A run of `make run`'s program for tests, on free ports and a given data directory, and its output. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { isAlive, processStat } from '#common/process/process-identity.ts'
import { until } from '#common/testing/until.ts'

/** A data directory that is removed after the test. */
export function temporaryDataDir(t: Pick<Test, 'teardown'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'stack-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const anyPort = Object.fromEntries(
  [
    ...['STACK_POSTGRES_PORT', 'STACK_REDIS_PORT', 'STACK_KAFKA_PORT', 'GATEWAY_PORT', 'GATEWAY_OPS_PORT'],
    ...['USER_SVC_PORT', 'USER_SVC_OPS_PORT', 'SESSION_SVC_PORT', 'SESSION_SVC_OPS_PORT', 'LOG_SINK_OPS_PORT']
  ].map((name) => [name, '0'])
)

/** Starts the stack with the program of `make run`, or with another `command`. The test kills it at its end. */
export function startStack(
  t: Pick<Test, 'teardown'>,
  dataDir: string,
  overrides: NodeJS.ProcessEnv = {},
  command = [process.execPath, 'stack/run.ts']
) {
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    ...anyPort,
    STACK_DATA_DIR: dataDir,
    USER_SVC_PASSWORD_COST: '4',
    // Tests poll until a service has recovered.
    GATEWAY_RATE_LIMIT_ENABLED: 'false',
    ...overrides
  }
  // Variables of the make that runs the tests.
  for (const name of ['MAKELEVEL', 'MAKEFLAGS', 'MFLAGS', 'MAKEOVERRIDES']) delete env[name]
  const child = spawn(command[0] as string, command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'exit') as Promise<[number | null, string | null]>
  const lines: string[] = []
  const errors: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line))
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await exited
  })

  /** Waits for a line of standard output; earlier lines count. */
  async function printed(pattern: RegExp, timeoutMs = 150_000): Promise<string> {
    const matches = (line: string) => pattern.test(line)
    await until(String(pattern), () => lines.some(matches), timeoutMs).catch((error) => {
      throw new Error(`${error.message}; output so far:\n${[...lines, ...errors].join('\n')}`)
    })
    return lines.find(matches) as string
  }

  /** An address from the table. */
  async function address(name: string, what: RegExp): Promise<string> {
    const row = await printed(new RegExp(`^${name} +\\S+ +${what.source}`))
    return row.split(/ +/)[1] as string
  }

  return { pid: child.pid as number, child, exited, lines, errors, printed, address }
}

/** The descendants of a process, whatever their process group. Linux only. */
export function descendants(ancestor: number): [pid: number, command: string][] {
  const parents = new Map(processIds().map((pid) => [pid, parentOf(pid)]))
  const isUnder = (pid: number | undefined): boolean =>
    pid !== undefined && (parents.get(pid) === ancestor || isUnder(parents.get(pid)))
  return [...parents.keys()].filter(isUnder).map((pid) => [pid, commandOf(pid)])
}

/** The processes that still run. */
export function alive(processes: [pid: number, command: string][]): [pid: number, command: string][] {
  return processes.filter(([pid]) => isAlive(pid))
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function parentOf(pid: number): number | undefined {
  const parent = processStat(pid)[1]
  return parent === undefined ? undefined : Number(parent)
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}
