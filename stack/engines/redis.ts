/** Redis: found or started, on its own, with every deletion on disk. */

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from 'redis'
import { keptSecret } from '../secret-file.ts'
import type { Program } from '../supervised.ts'
import { isInstalled } from '../tool.ts'
import { waitUntil } from '../wait.ts'
import { installPackages } from './debian-package.ts'
import { containerProgram, openToContainer } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'

/** The image that is used with Docker. */
export const redisImage = 'redis:8.8.0'

// Not a snapshot now and then: a deleted session would be back after a crash. Nor may memory pressure forget one.
const durability = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']

/** How Redis is to be started. */
export interface RedisOptions extends EngineOptions {
  /** Its password is made once and kept here: whoever can write to Redis can make sessions. */
  passwordFile: string
}

// A file and no argument, which every user of the machine could read in the table of processes.
const settingsFile = 'redis.conf'
const containedSettings = `/etc/${settingsFile}`

/** Starts Redis and resolves to its URL, password included, once it answers. */
export async function startRedis(options: RedisOptions): Promise<string> {
  const { supervisor, directory, port, passwordFile, signal } = options
  const password = keptSecret(passwordFile)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  supervisor.start(options.docker ? contained(options, password) : await native(options, password))
  const url = `redis://:${password}@127.0.0.1:${port}`
  await waitUntil(() => pingRedis(url), engineStartMs, signal)
  return url
}

/** Resolves if a Redis answers at the address and takes its password. */
export async function pingRedis(url: string): Promise<void> {
  const client = createClient({ url, socket: { reconnectStrategy: false, connectTimeout: 1500 } })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.ping()
  } finally {
    client.destroy()
  }
}

async function native({ directory, port, say, signal }: EngineOptions, password: string): Promise<Program> {
  if (!(await isInstalled('redis-server'))) await installPackages(['redis-server'], say, signal)
  chmodSync(directory, 0o700)
  writeFileSync(join(directory, settingsFile), `requirepass ${password}\n`, { mode: 0o600 })
  const args = [settingsFile, '--port', String(port), '--bind', '127.0.0.1', '--daemonize', 'no', ...durability]
  // It keeps its data where it runs: a path may hold what Redis takes for a quotation mark or an option.
  const options = { cwd: directory }
  return { name: 'redis', graceMs: engineGraceMs, command: () => ({ file: 'redis-server', args, options }) }
}

function contained({ docker, directory, port }: EngineOptions, password: string): Program {
  openToContainer(directory)
  // Beside the data, which the entrypoint gives to its own user: the next start by another user than root could write no
  // settings there. That user must read them; the folder is closed to all others.
  const folder = `${directory}-settings`
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const settings = join(folder, settingsFile)
  writeFileSync(settings, `requirepass ${password}\n`)
  chmodSync(settings, 0o644)
  return containerProgram(docker as NonNullable<typeof docker>, {
    name: 'redis',
    image: redisImage,
    port,
    containerPort: 6379,
    directory,
    containerDirectory: '/data',
    files: { [containedSettings]: settings },
    args: ['redis-server', containedSettings, ...durability]
  })
}
