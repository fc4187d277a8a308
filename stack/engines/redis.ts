/** Redis: one server that writes every deletion to disk, with a user for each service, as a process or in Docker. */

import { chmodSync, mkdirSync } from 'node:fs'
import { join, relative } from 'node:path'
import { createClient } from 'redis'
import { keptSecret } from '../secret-file.ts'
import type { Program } from '../supervised.ts'
import { systemEnvironment } from '../system-environment.ts'
import { isInstalled, runTool } from '../tool.ts'
import { waitUntil } from '../wait.ts'
import { installPackages } from './debian-package.ts'
import { containerProgram, openToContainer } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'
import { engineOwner } from './engine-owner.ts'
import { redisAdmin, userSettings } from './redis-users.ts'
import { createSettingsFolder, openSettingsFolder, writeSettingsFile } from './settings-folder.ts'

export const redisImage = 'redis:8.8.0'

// With snapshots only, a crash would restore deleted sessions. Under memory pressure, an eviction policy would delete sessions.
const durability = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']

/** The URLs of one server: as operator, and as each service. Write access to the keys of sessions is enough to create one. */
export interface RedisUrls {
  admin: string
  gateway: string
  sessionSvc: string
}

interface RedisOptions extends EngineOptions {
  /** The folder of the passwords, which the first start generates. */
  secretsDirectory: string
}

// A file: every user of the machine can read the arguments of a process.
// Not in redis.conf: Redis takes the absolute path of that file for a pattern, and ignores a file that does not match.
const usersFile = 'users.acl'
const containedUsers = `/etc/${usersFile}`

/** Starts Redis and, when it answers, resolves to its URLs. */
export async function startRedis(options: RedisOptions): Promise<RedisUrls> {
  const { supervisor, directory, port, secretsDirectory, signal } = options
  const secret = (name: string) => keptSecret(join(secretsDirectory, name))
  const passwords = {
    admin: secret('redis-password'),
    gateway: secret('redis-gateway-password'),
    'session-svc': secret('redis-session-svc-password')
  }
  const url = (user: keyof typeof passwords) => `redis://${user}:${passwords[user]}@127.0.0.1:${port}`
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const settings = userSettings(passwords)
  supervisor.start(options.docker ? contained(options, settings) : await native(options, settings))
  await waitUntil(() => pingRedis(url(redisAdmin)), engineStartMs, signal)
  return { admin: url(redisAdmin), gateway: url('gateway'), sessionSvc: url('session-svc') }
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

async function native({ directory, port, print, signal }: EngineOptions, settings: string): Promise<Program> {
  if (!(await isInstalled('redis-server'))) await installPackages(['redis-server'], print, signal)
  const owner = await engineOwner('redis', { directory, print })
  if (!owner) chmodSync(directory, 0o700)
  const folder = createSettingsFolder(directory)
  openSettingsFolder(folder, owner)
  const users = join(folder, usersFile)
  writeSettingsFile(users, settings, owner)
  // Of an earlier version.
  await runTool('rm', ['-f', usersFile], { cwd: directory, ...owner })
  const args = [
    '--aclfile',
    relative(directory, users),
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--daemonize',
    'no',
    ...durability
  ]
  // The data go to the working directory: Redis would interpret quotation marks and options in a path.
  const options = { cwd: directory, env: systemEnvironment(), ...owner }
  return { name: 'redis', graceMs: engineGraceMs, command: () => ({ file: 'redis-server', args, options }) }
}

function contained({ docker, directory, port }: EngineOptions, users: string): Program {
  openToContainer(directory)
  // Not in the data folder: the entrypoint gives that one to its own user, and the next start could not write there without
  // root. Redis can read the file; the folder is closed to other users.
  const settings = join(createSettingsFolder(directory), usersFile)
  writeSettingsFile(settings, users, undefined)
  chmodSync(settings, 0o644)
  return containerProgram(docker as NonNullable<typeof docker>, {
    name: 'redis',
    image: redisImage,
    port,
    containerPort: 6379,
    directory,
    containerDirectory: '/data',
    files: { [containedUsers]: settings },
    args: ['redis-server', '--aclfile', containedUsers, ...durability]
  })
}
