/** What the operating system knows about other processes; Linux says more than other systems. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Whether a process runs; one that only waits to be collected by its parent does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return stat(pid)[0] !== 'Z'
}

/** Tells a process from a later one with the same id; empty where that cannot be known. */
export function processStart(pid: number): string {
  // Field 22, the 20th after the name.
  return stat(pid)[19] ?? ''
}

/** The fields of `/proc/<pid>/stat` that follow the name, which stands in parentheses and may hold anything. */
export function stat(pid: number): string[] {
  const line = read(`/proc/${pid}/stat`)
  return line.slice(line.lastIndexOf(')') + 2).split(' ')
}

/** Who listens on a TCP port, as `redis-server (process 4711)`; undefined where that cannot be known. */
export function listenerOf(port: number): string | undefined {
  const inodes = new Set(['/proc/net/tcp', '/proc/net/tcp6'].flatMap((table) => listeningInodes(table, port)))
  if (inodes.size === 0) return undefined
  const pid = entries('/proc').find((name) => /^\d+$/.test(name) && holdsSocket(name, inodes))
  return pid === undefined ? undefined : `${commandName(pid)} (process ${pid})`
}

function listeningInodes(table: string, port: number): string[] {
  const hexPort = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  const rows = read(table).trim().split('\n').slice(1)
  const columns = rows.map((row) => row.trim().split(/\s+/))
  const listening = columns.filter(([, local, , state]) => state === '0A' && local?.endsWith(hexPort))
  return listening.flatMap((row) => row[9] ?? [])
}

function holdsSocket(pid: string, inodes: Set<string>): boolean {
  return entries(`/proc/${pid}/fd`).some((fd) => {
    try {
      return inodes.has(/^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? '')
    } catch {
      return false
    }
  })
}

function commandName(pid: string): string {
  return read(`/proc/${pid}/comm`).trim() || 'a process'
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function entries(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}
