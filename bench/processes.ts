/** The processes of a running product, their memory and CPU time. Linux only. */

import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { threadsOf } from '#common/process/priority.ts'
import type { Product } from './product.ts'

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

/** The programs; the hash threads count apart from user-svc. */
export type CpuName = ProgramName | 'hash threads'

/** USER_HZ, the unit of times in /proc. */
export const ticksPerSecond = 100

interface Process {
  pid: number
  parent: number
  cpuSeconds: number
  /** Of its children that have ended. */
  endedSeconds: number
}

/** The process id of a program; 0 if it does not run on this machine. */
export function processOf(product: Product, name: ProgramName): number {
  const children = allProcesses().filter(({ parent }) => parent === product.pid)
  return children.find(({ pid }) => programs[name].test(commandLine(pid)))?.pid ?? 0
}

/** CPU seconds of each program so far, including child processes. */
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

/** CPU seconds of libuv's thread pool, in which user-svc hashes. */
function hashSeconds(pid: number): number {
  const tasks = threadsOf(pid).map((thread) => `/proc/${pid}/task/${thread}`)
  const ofPool = tasks.filter((task) => read(`${task}/comm`).trim() === 'libuv-worker')
  return ofPool.reduce((sum, task) => sum + (statOf(task)?.cpuSeconds ?? 0), 0)
}

/** CPU seconds of a process and all its descendants so far, including ended ones. */
export function processTime(pid: number): number {
  const processes = allProcesses()
  const root = processes.find((each) => each.pid === pid)
  return root ? treeTime(root, processes) : 0
}

function treeTime(root: Process, processes: Process[]): number {
  const children = processes.filter(({ parent }) => parent === root.pid)
  return children.reduce((sum, child) => sum + treeTime(child, processes), root.cpuSeconds + root.endedSeconds)
}

/** Proportional set size of a process in MB (`Pss` in proc_pid_smaps(5)). */
export function proportionalMb(pid: number): number {
  return (Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1]) * 1024) / 1e6
}

// In cores. Kafka and the timers of the services are never fully idle.
const idleCores = 0.25
const sampleMs = 300
// Together longer than the second in which the shipper collects log lines.
const idleSamples = 4

/**
 * Resolves when a product is idle (its log is shipped) and the system has written its buffers to disk; at the latest after
 * `maxMs`.
 */
export async function untilQuiet(product: Product, maxMs = 10_000): Promise<void> {
  const endsAt = performance.now() + maxMs
  const sum = () => Object.values(cpuSeconds(product)).reduce((total, each) => total + each, 0)
  for (let last = sum(), idle = 0; idle < idleSamples && performance.now() < endsAt; ) {
    await sleep(sampleMs)
    const now = sum()
    idle = now - last < (idleCores * sampleMs) / 1000 ? idle + 1 : 0
    last = now
  }
  await promisify(execFile)('sync')
}

function allProcesses(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statOf(`/proc/${name}`) ?? [])
}

/** A process or a thread, by its folder in /proc. */
function statOf(folder: string): Process | undefined {
  // The name of the program, in parentheses, may contain any character.
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

/** Empty if the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
