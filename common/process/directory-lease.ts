/** Which process a directory belongs to, so that two never work in one, and what a dead process left is taken over. */

import { readFileSync, readlinkSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { isAlive, processStart } from './process-identity.ts'

/** A directory that is owned until it is released. */
export interface Ownership {
  /** Says that the owner lives, to those who cannot see its process. @returns whether it is still the owner */
  renew(): boolean
  /** Leaves the directory to whoever takes it next. */
  leave(): void
}

interface Owner {
  pid: number
  startedAt: string
  /** Within one host and namespace process ids tell who lives; elsewhere only the age of the file does. */
  host: string
  namespace: string
}

/** How often an owner has to renew, in milliseconds. */
export const renewMs = 5000
// A file that is being written is not judged.
const settleMs = 2000

const nobody = JSON.stringify({ pid: 0 })

const ownerFile = (directory: string) => join(directory, 'owner.json')

function self(): Owner {
  return { pid: process.pid, startedAt: processStart(process.pid), host: hostname(), namespace: processNamespace() }
}

function processNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid')
  } catch {
    return ''
  }
}

/**
 * Takes a directory, or returns nothing if a living process has it.
 *
 * @param staleMs after this time without renewal an owner on another host or in another container counts as dead
 */
export function takeOwnership(directory: string, staleMs: number): Ownership | undefined {
  const path = ownerFile(directory)
  const found = readOwner(path)
  if (found !== undefined) {
    if (isHeld(found, staleMs)) return undefined
    // Only one of those who judge it dead can move the file away.
    const aside = `${path}.${process.pid}`
    if (!ignoring('ENOENT', () => renameSync(path, aside))) return undefined
    rmSync(aside)
  }
  const own = JSON.stringify(self())
  const write = () => ignoring('EEXIST', () => writeFileSync(path, own, { flag: 'wx', mode: 0o600 }))
  if (!write()) return undefined

  function renew(): boolean {
    const owner = readOwner(path)
    // Somebody has cleared the directory, which gives it to nobody else.
    if (owner === undefined) return write()
    const now = new Date()
    return owner.text === own && ignoring('ENOENT', () => utimesSync(path, now, now))
  }

  return {
    renew() {
      try {
        return renew()
      } catch {
        // A disk that fails, or a directory that is gone, is told by those who write there.
        return true
      }
    },
    leave() {
      // Removing the file would make it look like a directory whose owner has yet to be written.
      if (readOwner(path)?.text === own) writeFileSync(path, nobody)
    }
  }
}

interface FoundOwner {
  text: string
  renewedAt: number
}

function readOwner(path: string): FoundOwner | undefined {
  let found: FoundOwner | undefined
  ignoring('ENOENT', () => {
    found = { text: readFileSync(path, 'utf8'), renewedAt: statSync(path).mtimeMs }
  })
  return found
}

function isHeld({ text, renewedAt }: FoundOwner, staleMs: number): boolean {
  if (text === nobody) return false
  const age = Date.now() - renewedAt
  let owner: Owner
  try {
    owner = JSON.parse(text) as Owner
  } catch {
    return age < settleMs
  }
  const { host, namespace } = self()
  if (owner.host !== host || owner.namespace !== namespace) return age < staleMs
  return isAlive(owner.pid) && processStart(owner.pid) === owner.startedAt
}

/** @returns whether it was done, rather than failed with this code */
function ignoring(code: string, action: () => void): boolean {
  try {
    action()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false
    throw error
  }
}
