/** Redis: one server that writes every deletion to disk, as a process or in Docker. */

import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from 'redis'
import { keptSecret } from '../secret-file.ts'
import type { Program } from '../supervised.ts'
import { systemEnvironment } from '../system-environment.ts'
import { isInstalled } from '../tool.ts'
import { waitUntil } from '../wait.ts'
import { installPackages } from './debian-package.ts'
import { containerProgram, openToContainer } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'

export const redisImage = 'redis:8.8.0'

// With snapshots only, a crash would restore deleted sessions. Under memory pressure, an eviction policy would delete sessions.
const durability = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']

interface RedisOptions extends EngineOptions {
  /** The file of the password, which the first start generates. Write access to Redis is enough to create sessions. */
  passwordFile: string
}

// A file: every user of the machine can read the arguments of a process.
const settingsFile = 'redis.conf'
const containedSettings = `/etc/${settingsFile}`

/** Starts Redis and, when it answers, resolves to its URL with the password. */
export async function startRedis(options: RedisOptions): Promise<string> {
  const { supervisor, directory, port, passwordFile, signal } = options
  const password = keptSecret(passwordFile)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  supervisor.start(options.docker ? contained(options, password) : await native(options, password))
  const url = `redis://:${password}@127.0.0.1:${port}`
  await waitUntil(() => pingRedis(url), engineStartMs, signal)
  return url
}

/** Resolves if Redis accepts the password of a URL, and rejects otherwise. */
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

async function native({ directory, port, print, signal }: EngineOptions, password: string): Promise<Program> {
  if (!(await isInstalled('redis-server'))) await installPackages(['redis-server'], print, signal)
  chmodSync(directory, 0o700)
  writeFileSync(join(directory, settingsFile), `requirepass ${password}\n`, { mode: 0o600 })
  const args = [settingsFile, '--port', String(port), '--bind', '127.0.0.1', '--daemonize', 'no', ...durability]
  // The data go to the working directory: Redis would interpret quotation marks and options in a path.
  const options = { cwd: directory, env: systemEnvironment() }
  return { name: 'redis', graceMs: engineGraceMs, command: () => ({ file: 'redis-server', args, options }) }
}

function contained({ docker, directory, port }: EngineOptions, password: string): Program {
  openToContainer(directory)
  // Not in the data folder: the entrypoint gives that one to its own user, and the next start could not write there without
  // root. Redis can read the file; the folder is closed to other users.
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
