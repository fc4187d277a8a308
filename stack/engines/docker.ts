/** Engines in Docker containers, which run attached, so that they are supervised like any process. */

import { createHash } from 'node:crypto'
import { chmodSync, statSync } from 'node:fs'
import type { Program } from '../supervised.ts'
import { runTool } from '../tool.ts'
import { type Docker, engineGraceMs } from './engine.ts'

/** What is run in a container. */
export interface Contained {
  name: string
  image: string
  port: number
  containerPort: number
  directory: string
  containerDirectory: string
  /** Files that the container only reads: where they are, by where it finds them. */
  files?: Record<string, string>
  /** Given by way of the environment, so that no secret is on a command line. */
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
 * Gives a folder of data the mode that the user of an image needs; the umask of `make run` would close it.
 * A folder that an entrypoint has given to its own user is left as it is: only root could change it.
 */
export function openToContainer(directory: string, mode = 0o777): void {
  if (statSync(directory).uid === process.getuid?.()) chmodSync(directory, mode)
}

/** Makes sure that an image is there. */
export async function pullImage(image: string, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  await runTool('docker', ['image', 'inspect', image], { signal }).catch(() => {
    say(`pulling the Docker image ${image}`)
    return runTool('docker', ['pull', '--quiet', image], { signal })
  })
}

const mount = (source: string, target: string) => ['type=bind', `source=${source}`, `target=${target}`]

/** The fields are a line of CSV: a comma or a quotation mark in a path is quoted. */
const mountOption = (fields: string[]) => [
  '--mount',
  fields.map((field) => (/[",]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',')
]

/** The program that is a container. */
export function containerProgram({ containerPrefix }: Docker, contained: Contained): Program {
  const { name, image, port, containerPort, directory, containerDirectory, stopSignal } = contained
  const { files = {}, env = {}, args = [] } = contained
  const container = `${containerPrefix}-${name}`
  const publish = `127.0.0.1:${port}:${containerPort}`
  const variables = Object.keys(env).flatMap((variable) => ['--env', variable])
  // Not `--volume`: it divides its value at colons, which a path may hold.
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
      // That there is none to remove is no failure; a new one of the same name would fail and say so.
      remove: async () => void (await runTool('docker', ['rm', '--force', container]).catch(() => ''))
    }
  }
}
