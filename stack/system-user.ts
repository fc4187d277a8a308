/** System users: when root starts the stack, the programs run as other users where possible. */

import { closeSync, constants, fchmodSync, fchownSync, fstatSync, lstatSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runTool } from './tool.ts'

export interface SystemUser {
  uid: number
  gid: number
}

/** Of Redis and Kafka: the services cannot read the files with the passwords of their users. */
export const engineUser = 'auth-backend-engines'
export const serviceUser = 'auth-backend'

export const isRoot = () => process.getuid?.() === 0

// Another program may hold the lock of the list of users.
const createAttempts = 20
const createRetryMs = 250
let queue: Promise<unknown> = Promise.resolve()

/** Finds or creates a user without a home and a login. Calls run one after the other. @throws {Error} */
export function systemUser(name: string): Promise<SystemUser> {
  const mine = queue.then(() => findOrCreate(name))
  queue = mine.catch(() => {})
  return mine
}

async function findOrCreate(name: string): Promise<SystemUser> {
  const id = async (flag: string) => Number(await runTool('id', [flag, name]))
  const find = async () => ({ uid: await id('-u'), gid: await id('-g') })
  for (let attempt = 1; ; attempt += 1) {
    const found = await find().catch(() => undefined)
    if (found) return found
    try {
      await runTool('useradd', ['--system', '--user-group', '--no-create-home', name])
    } catch (error) {
      if (attempt === createAttempts || !/lock/.test(String(error))) throw error
      await sleep(createRetryMs)
    }
  }
}

/** The first of some paths that a user cannot use: a directory is entered, a file is read. Undefined if there is none. */
export async function unreachablePath(user: SystemUser, paths: readonly string[]): Promise<string | undefined> {
  const isUsable = 'if test -d "$path"; then test -x "$path"; else test -r "$path"; fi'
  const script = `for path; do ${isUsable} || { printf %s "$path"; exit; }; done`
  return (await runTool('sh', ['-c', script, 'sh', ...paths], { ...user, cwd: '/' })) || undefined
}

/** Gives a directory with its content to a user. Of a directory that is already theirs, nothing is changed. */
export async function handOver(directory: string, { uid, gid }: SystemUser): Promise<void> {
  // The user creates the directory, and could replace it by a link.
  if (isBelow(directory, uid)) return
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const isTheirs = withDirectory(directory, (file) => {
    // chown changes a directory after its content: a killed one has not changed the directory itself.
    if (fstatSync(file).uid === uid) return true
    fchmodSync(file, 0o700)
    return false
  })
  if (!isTheirs) await runTool('chown', ['-hR', `${uid}:${gid}`, directory])
}

/** Gives a directory that a user may own to root, and deletes the links in it, which a program of root would follow. */
export async function takeBack(directory: string): Promise<void> {
  if (!lstatSync(directory, { throwIfNoEntry: false })?.isDirectory()) return
  withDirectory(directory, (file) => {
    fchownSync(file, 0, 0)
    fchmodSync(file, 0o700)
  })
  await runTool('chown', ['-hR', '0:0', directory])
  await runTool('find', [directory, '-type', 'l', '-delete'])
}

/** Whether a user owns a directory above this one. */
function isBelow(directory: string, uid: number): boolean {
  const parent = dirname(directory)
  if (parent === directory) return false
  return lstatSync(parent, { throwIfNoEntry: false })?.uid === uid || isBelow(parent, uid)
}

/** @throws {Error} if the path is a link or a file */
function withDirectory<T>(path: string, use: (file: number) => T): T {
  const file = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW)
  try {
    return use(file)
  } finally {
    closeSync(file)
  }
}
