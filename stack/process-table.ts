/** Finds the process that listens on a port. Linux only. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** The process that listens on a TCP port, as `redis-server (process 4711)`; undefined if it is unknown. */
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
