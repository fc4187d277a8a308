/** A Docker daemon for tests: on its own socket, which no other program uses, and with its own data. */

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '#common/testing/until.ts'
import { runTool, ToolError } from '../../stack/tool.ts'
import { removeLeftovers } from './leftovers.ts'

const root = join(import.meta.dirname, '..', '..')

/** Images and build cache of the tests; `make clean` removes them. */
const dataRoot = join(root, '.tools', 'docker')

/** Configuration and plugins of the client. */
export const clientConfig = join(root, '.tools', 'docker-config')

/** Beside the clone's own name, since a socket's path may not be long. Also the name of the containers' control group. */
const runName = `auth-backend-docker-${createHash('sha256').update(root).digest('hex').slice(0, 8)}`
const runDir = join(tmpdir(), runName)

// The client of the same package: it builds without a plugin.
const client = ['/usr/bin/docker', '/usr/local/bin/docker'].find((path) => existsSync(path)) ?? '/usr/bin/docker'

/** A daemon that answers. */
export interface Daemon {
  /** The environment of a client: the daemon's address, and `docker` on the path. */
  environment: NodeJS.ProcessEnv
  /** Runs the client, and resolves to what it printed. */
  docker(...args: string[]): Promise<string>
  /** Ends the daemon with its containers. */
  stop(): Promise<void>
}

/** A daemon cannot run here; the message states the reason. */
export class NoDaemon extends Error {
  override name = 'NoDaemon'
}

/**
 * Starts the daemon in the caller's network namespace, and ends the daemon of a killed run.
 *
 * @param bridged false: it makes no network, and containers can have only the caller's or none
 * @throws {NoDaemon} where none can run
 */
export async function startDaemon({ bridged }: { bridged: boolean }): Promise<Daemon> {
  if (process.platform !== 'linux') throw new NoDaemon('a Docker daemon runs on Linux only')
  if (process.getuid?.() !== 0) throw new NoDaemon('only root can start a Docker daemon')
  await removeLeftovers(runDir, dataRoot, runName)
  mkdirSync(runDir, { recursive: true, mode: 0o711 })
  mkdirSync(dataRoot, { recursive: true })
  // A folder with nothing but the client: others in its own folder, such as an older Node.js, must not come first.
  const programs = join(runDir, 'bin')
  mkdirSync(programs)
  symlinkSync(client, join(programs, 'docker'))
  // Settings of the machine's own daemon do not count.
  writeFileSync(join(runDir, 'daemon.json'), '{}')
  const host = `unix://${join(runDir, 'docker.sock')}`
  const options = [
    ...['--host', host, '--data-root', dataRoot, '--exec-root', join(runDir, 'exec')],
    ...[
      '--pidfile',
      join(runDir, 'pid'),
      '--cgroup-parent',
      `/${runName}`,
      '--config-file',
      join(runDir, 'daemon.json')
    ],
    ...(bridged ? [] : ['--bridge', 'none', '--iptables=false', '--ip6tables=false'])
  ]
  const logPath = join(runDir, 'log')
  const log = openSync(logPath, 'w', 0o600)
  // The shell ends the daemon when this process ends, however it ends: the pipe closes.
  const watchdog = 'dockerd "$@" & daemon=$!; (read -r _; kill "$daemon") <&3 & wait "$daemon"; kill $! 2>/dev/null'
  const child = spawn('sh', ['-c', `exec 3<&0; ${watchdog}`, 'sh', ...options], {
    stdio: ['pipe', log, log],
    detached: true
  })
  const ended = once(child, 'exit')
  child.stdin?.on('error', () => {})
  const environment = {
    ...process.env,
    PATH: `${programs}:${process.env.PATH}`,
    DOCKER_HOST: host,
    DOCKER_BUILDKIT: '1',
    DOCKER_CONFIG: clientConfig
  }
  const docker = (...args: string[]) => runTool(client, args, { env: environment })
  async function stop(): Promise<void> {
    child.stdin?.end()
    await ended
    await removeLeftovers(runDir, dataRoot, runName)
  }
  try {
    await until(
      'the Docker daemon answers',
      async () => {
        if (child.exitCode !== null) throw new NoDaemon(`dockerd ended: ${lastError(logPath)}`)
        return docker('version').then(
          () => true,
          () => false
        )
      },
      60_000
    )
    return { environment, docker, stop }
  } catch (error) {
    await stop()
    throw error instanceof NoDaemon ? error : new NoDaemon(`${(error as Error).message}: ${lastError(logPath)}`)
  }
}

function lastError(logPath: string): string {
  const lines = readFileSync(logPath, 'utf8').trim().split('\n')
  return (lines.findLast((line) => /level=(error|fatal)|failed/.test(line)) ?? lines.at(-1) ?? '').slice(0, 300)
}

/** The output of a failed client. */
export function outputOf(error: unknown): string {
  return error instanceof ToolError ? error.output : String(error)
}
