/** Engines in Docker containers. `docker run` stays attached, so containers are supervised like processes. */

import { createHash } from 'node:crypto'
import { chmodSync, statSync } from 'node:fs'
import type { Program } from '../supervised.ts'
import type { Print } from '../supervisor.ts'
import { runTool } from '../tool.ts'
import { type Docker, engineGraceMs } from './engine.ts'

interface Contained {
  name: string
  image: string
  port: number
  containerPort: number
  directory: string
  containerDirectory: string
  /** Read-only files: the path in the container, and the path on the machine. */
  files?: Record<string, string>
  /** Passed through the environment: a command line would show secrets. */
  env?: Record<string, string>
  args?: string[]
  stopSignal?: NodeJS.Signals
}

/** The Docker engine, if one answers within two seconds. */
export async function findDocker(dataDir: string): Promise<Docker | undefined> {
  const hash = createHash('sha256').update(dataDir).digest('hex').slice(0, 8)
  try {
    await runTool('docker', ['version', '--format', '{{.Server.Version}}'], { timeoutMs: 2000 })
    return { containerPrefix: `auth-backend-${hash}` }
  } catch {
    return undefined
  }
}

/**
 * Gives a data folder the mode that the user of an image needs, whatever the umask of `make run`. A folder that an
 * entrypoint has given to its own user keeps its mode: only root could change it.
 */
export function openToContainer(directory: string, mode = 0o777): void {
  if (statSync(directory).uid === process.getuid?.()) chmodSync(directory, mode)
}

/** Pulls an image unless Docker has it. */
export async function pullImage(image: string, print: Print, signal: AbortSignal): Promise<void> {
  await runTool('docker', ['image', 'inspect', image], { signal }).catch(() => {
    print(`pulling the Docker image ${image}`)
    return runTool('docker', ['pull', '--quiet', image], { signal })
  })
}

const mount = (source: string, target: string) => ['type=bind', `source=${source}`, `target=${target}`]

/** Docker parses the fields as a line of CSV, so a path with a comma or a quotation mark is quoted. */
const mountOption = (fields: string[]) => [
  '--mount',
  fields.map((field) => (/[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')
]

/** A container as a program of the supervisor. */
export function containerProgram({ containerPrefix }: Docker, contained: Contained): Program {
  const { name, image, port, containerPort, directory, containerDirectory, stopSignal } = contained
  const { files = {}, env = {}, args = [] } = contained
  const container = `${containerPrefix}-${name}`
  const publish = `127.0.0.1:${port}:${containerPort}`
  const variables = Object.keys(env).flatMap((variable) => ['--env', variable])
  // Not `--volume`: it splits its value at colons, which a path may contain.
  const mounts = [
    mount(directory, containerDirectory),
    ...Object.entries(files).map(([target, source]) => [...mount(source, target), 'readonly'])
  ]
  const run = ['run', '--rm', '--name', container, '--publish', publish, ...mounts.flatMap(mountOption)]
  return {
    name,
    graceMs: engineGraceMs,
    ...(stopSignal && { stopSignal }),
    command: () => ({
      file: 'docker',
      args: [...run, ...variables, image, ...args],
      options: { env: { ...process.env, ...env } }
    }),
    container: {
      name: container,
      // Fails if there is no container. If one cannot be removed, `docker run` reports it.
      remove: async () => void (await runTool('docker', ['rm', '--force', container]).catch(() => ''))
    }
  }
}
