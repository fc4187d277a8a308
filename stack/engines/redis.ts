/** Redis: found or started, on its own, with every deletion on disk. */

import { chmodSync, mkdirSync } from 'node:fs'
import { createClient } from 'redis'
import type { Program } from '../supervised.ts'
import { isInstalled } from '../tool.ts'
import { waitUntil } from '../wait.ts'
import { installPackages } from './debian-package.ts'
import { containerProgram } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'

/** The image that is used with Docker. */
export const redisImage = 'redis:8.8.0'

// Not a snapshot now and then: a deleted session would be back after a crash. Nor may memory pressure forget one.
const durability = ['--appendonly', 'yes', '--save', '', '--maxmemory-policy', 'noeviction']

/** Starts Redis and resolves to its URL once it answers. */
export async function startRedis(options: EngineOptions): Promise<string> {
  const { supervisor, port, signal } = options
  mkdirSync(options.directory, { recursive: true })
  supervisor.start(options.docker ? contained(options) : await native(options))
  const url = `redis://127.0.0.1:${port}`
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

async function native({ directory, port, say, signal }: EngineOptions): Promise<Program> {
  if (!(await isInstalled('redis-server'))) await installPackages(['redis-server'], say, signal)
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--daemonize', 'no', ...durability]
  return { name: 'redis', graceMs: engineGraceMs, command: () => ({ file: 'redis-server', args }) }
}

function contained({ docker, directory, port }: EngineOptions): Program {
  chmodSync(directory, 0o777)
  return containerProgram(docker as NonNullable<typeof docker>, {
    name: 'redis',
    image: redisImage,
    port,
    containerPort: 6379,
    directory,
    containerDirectory: '/data',
    args: ['redis-server', ...durability]
  })
}
