/** The processes of a product that runs: which they are, what memory they hold, what time of the processor they took. Linux only. */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { threadsOf } from '#common/process/priority.ts'
import type { Product } from './product.ts'

/** The four services. */
export const serviceNames = ['gateway', 'user-svc', 'session-svc', 'log-sink'] as const

const programs = {
  gateway: /\bgateway\/server\.ts/,
  'user-svc': /\buser-svc\/server\.ts/,
  'session-svc': /\bsession-svc\/server\.ts/,
  'log-sink': /\blog-sink\/server\.ts/,
  postgres: /\bpostgres\b/,
  redis: /\bredis-server\b/,
  kafka: /\bkafka\.Kafka\b/
}

/** A service, or an engine that was started without Docker. */
type ProgramName = keyof typeof programs

/** Everything that takes CPU: the programs, and apart from user-svc its threads that hash. */
export type CpuName = ProgramName | 'hash threads'

/** What the kernel counts time in; on Linux it is the same everywhere (USER_HZ). */
export const ticksPerSecond = 100

interface Process {
  pid: number
  parent: number
  cpuSeconds: number
  /** What its children had taken that have ended. */
  endedSeconds: number
}

/** The process that a program was started as; 0 if it does not run here. */
export function processOf(product: Product, name: ProgramName): number {
  const children = allProcesses().filter(({ parent }) => parent === product.pid)
  return children.find(({ pid }) => programs[name].test(commandLine(pid)))?.pid ?? 0
}

/** CPU time in seconds that each program of a product has taken so far, child processes included. */
export function cpuSeconds(product: Product): Record<CpuName, number> {
  const processes = allProcesses()
  const names = Object.keys(programs) as ProgramName[]
  const seconds = Object.fromEntries([...names, 'hash threads'].map((name) => [name, 0])) as Record<CpuName, number>
  for (const child of processes.filter(({ parent }) => parent === product.pid)) {
    const name = names.find((each) => programs[each].test(commandLine(child.pid)))
    if (name === undefined) continue
    const hashing = name === 'user-svc' ? hashSeconds(child.pid) : 0
    seconds[name] += treeTime(child, processes) - hashing
    seconds['hash threads'] += hashing
  }
  return seconds
}

/** CPU time of the threads of libuv's pool, which user-svc hashes on. */
function hashSeconds(pid: number): number {
  const tasks = threadsOf(pid).map((thread) => `/proc/${pid}/task/${thread}`)
  const ofPool = tasks.filter((task) => read(`${task}/comm`).trim() === 'libuv-worker')
  return ofPool.reduce((sum, task) => sum + (statOf(task)?.cpuSeconds ?? 0), 0)
}

/** CPU time in seconds that a process and all below it have taken so far, those included that have ended. */
export function processTime(pid: number): number {
  const processes = allProcesses()
  const root = processes.find((each) => each.pid === pid)
  return root ? treeTime(root, processes) : 0
}

function treeTime(root: Process, processes: Process[]): number {
  const children = processes.filter(({ parent }) => parent === root.pid)
  return children.reduce((sum, child) => sum + treeTime(child, processes), root.cpuSeconds + root.endedSeconds)
}

/** Memory of a process in MB of a million bytes; of pages that it shares, its share (`Pss` in proc_pid_smaps(5)). */
export function proportionalMb(pid: number): number {
  return (Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) * 1024) / 1e6
}

// Kafka and the timers of the services are never quite idle.
const quietShare = 0.25
// Longer than the second for which lines of the log are gathered.
const quietLooks = 4

/**
 * Resolves when a product has done what it had left to do, such as to ship its log, at the latest after `maxMs`, and
 * the system has written to the disk what it left there.
 */
export async function untilQuiet(product: Product, maxMs = 10_000): Promise<void> {
  const endsAt = performance.now() + maxMs
  const sum = () => Object.values(cpuSeconds(product)).reduce((total, each) => total + each, 0)
  for (let last = sum(), quiet = 0; quiet < quietLooks && performance.now() < endsAt; ) {
    await sleep(300)
    const now = sum()
    quiet = now - last < quietShare * 0.3 ? quiet + 1 : 0
    last = now
  }
  await promisify(execFile)('sync')
}

function allProcesses(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(`/proc/${name}`) ?? [])
}

/** Of a process or a thread, by its folder in /proc. */
function statOf(folder: string): Process | undefined {
  // The name of the program, in parentheses, may hold anything.
  const [head = '', tail] = read(`${folder}/stat`).split(/\) (?!.*\) )/s)
  if (tail === undefined) return undefined
  const fields = tail.split(' ').map(Number)
  const secondsAt = (index: number) => ((fields[index] ?? 0) + (fields[index + 1] ?? 0)) / ticksPerSecond
  return {
    pid: Number.parseInt(head, 10),
    parent: fields[1] ?? 0,
    cpuSeconds: secondsAt(11),
    endedSeconds: secondsAt(13)
  }
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')
}

/** A process may end while one looks at it. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
