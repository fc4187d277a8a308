/**
 * A lease on a directory: one live process holds it, and the lease of a dead process can be taken over.
 *
 * To acquire it, a contender (1) reads the lease file: a live holder ends the attempt, and its directory is unchanged, (2) writes
 * a draft, (3) moves a stale file aside and restores it if another contender has replaced it since, (4) links its draft into
 * place, which fails if another contender was faster, (5) reads the file again after `settleMs`, when every restore has happened.
 */

import {
  constants,
  copyFileSync,
  linkSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isAlive, processStart } from './process-identity.ts'

/** A lease that this process holds until it releases it. */
export interface Lease {
  /** The heartbeat, for processes in other containers. @returns whether this process still holds the lease */
  renew(): boolean
  release(): void
}

/** The holder, as the lease file states it. Process ids are unique within one host and namespace only. */
interface Holder {
  pid: number
  startedAt: string
  host: string
  namespace: string
}

/** The lease file of a directory. */
export const leaseFile = (directory: string) => join(directory, 'owner.json')

/** How often a holder renews its lease, in milliseconds. */
export const renewMs = 5000
// A contender can move a new lease aside when it means to remove the stale one. It restores the new lease within this time.
const settleMs = 20

const released = JSON.stringify({ pid: 0 })

function self(): Holder {
  let namespace = ''
  try {
    namespace = readlinkSync('/proc/self/ns/pid')
  } catch {
    // Not Linux.
  }
  return { pid: process.pid, startedAt: processStart(process.pid), host: hostname(), namespace }
}

/**
 * Acquires a lease, unless a live process holds it. On the same host, a dead holder is recognised at once by its
 * process id and start time; elsewhere when it has not renewed for `staleMs`.
 *
 * @param path the lease file
 * @param details further fields of the file
 */
export function acquireLease(path: string, staleMs: number, details: object = {}): Lease | undefined {
  const own = JSON.stringify({ ...self(), ...details })
  const isOwn = () => readLease(path)?.text === own
  const draft = `${path}.${process.pid}`
  const found = readLease(path)
  if (found !== undefined && isHeld(found, staleMs)) return undefined
  try {
    writeFileSync(draft, own, { mode: 0o600 })
    if (found !== undefined && !removeStale(path, found.text)) return undefined
    if (!place(draft, path)) return undefined
    pause()
    // The second check is for the moment in which a contender has moved the lease aside.
    if (isOwn()) return { renew, release }
    pause()
    return isOwn() ? { renew, release } : undefined
  } finally {
    rmSync(draft, { force: true })
  }

  function renew(): boolean {
    try {
      const found = readLease(path)
      // A deleted lease file gives the lease to no other process, so it is written again.
      if (found === undefined) writeFileSync(path, own, { flag: 'wx', mode: 0o600 })
      else if (found.text !== own) return false
      utimesSync(path, new Date(), new Date())
    } catch {
      // The writers of the directory report a disk that fails.
    }
    return true
  }

  function release(): void {
    // A directory without a lease file looks like one whose holder has not written it yet.
    if (isOwn()) writeFileSync(path, released)
  }
}

/** The holder of a lease; undefined if it is released, stale or absent. */
export function leaseHolder(path: string, staleMs: number): Holder | undefined {
  const found = readLease(path)
  return found !== undefined && isHeld(found, staleMs) ? (JSON.parse(found.text) as Holder) : undefined
}

interface LeaseFile {
  text: string
  renewedAt: number
}

function readLease(path: string): LeaseFile | undefined {
  try {
    return { text: readFileSync(path, 'utf8'), renewedAt: statSync(path).mtimeMs }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function isHeld({ text, renewedAt }: LeaseFile, staleMs: number): boolean {
  if (text === released) return false
  let holder: Holder
  try {
    holder = JSON.parse(text) as Holder
  } catch {
    // A full disk left it incomplete.
    return false
  }
  const { host, namespace } = self()
  if (holder.host !== host || holder.namespace !== namespace) return Date.now() - renewedAt < staleMs
  return isAlive(holder.pid) && processStart(holder.pid) === holder.startedAt
}

/** Removes a stale lease; restores a new lease that has replaced it since. @returns whether it was still the stale one */
function removeStale(path: string, staleText: string): boolean {
  const aside = `${path}.stale.${process.pid}`
  try {
    renameSync(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
  const isStale = readLease(aside)?.text === staleText
  if (!isStale) place(aside, path)
  rmSync(aside, { force: true })
  return isStale
}

/** Puts a complete file at a path, unless there is one. @returns whether it was put there */
function place(file: string, path: string): boolean {
  try {
    linkSync(file, path)
    return true
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') return false
    // A file system without hard links.
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(code)) throw error
  }
  copyFileSync(file, path, constants.COPYFILE_EXCL)
  return true
}

function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, settleMs)
}
