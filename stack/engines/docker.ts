/** Engines in Docker containers, which run attached, so that they are supervised like any process. */

import { createHash } from 'node:crypto'
import type { Program } from '../supervised.ts'
import { runTool } from '../tool.ts'
import { engineGraceMs } from './engine.ts'

/** A Docker engine that answers; containers of one data directory carry its name. */
export interface Docker {
  containerPrefix: string
}

/** What is run in a container. */
export interface Contained {
  name: string
  image: string
  port: number
  containerPort: number
  directory: string
  containerDirectory: string
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

/** Makes sure that an image is there. */
export async function pullImage(image: string, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  await runTool('docker', ['image', 'inspect', image], { signal }).catch(() => {
    say(`pulling the Docker image ${image}`)
    return runTool('docker', ['pull', '--quiet', image], { signal })
  })
}

/** The program that is a container. */
export function containerProgram({ containerPrefix }: Docker, contained: Contained): Program {
  const { name, image, port, containerPort, directory, containerDirectory, env = {}, args = [], stopSignal } = contained
  const container = `${containerPrefix}-${name}`
  const publish = `127.0.0.1:${port}:${containerPort}`
  const variables = Object.keys(env).flatMap((variable) => ['--env', variable])
  const run = [
    'run',
    '--rm',
    '--name',
    container,
    '--publish',
    publish,
    '--volume',
    `${directory}:${containerDirectory}`
  ]
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
