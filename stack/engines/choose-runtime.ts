/** Chooses for an engine between Docker and a process of its own; the way that made its data is kept to. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Supervisor } from '../supervisor.ts'
import { findDocker, pullImage } from './docker.ts'
import type { Docker } from './engine.ts'
import { type EngineOptions, Unavailable } from './engine.ts'

/** What is the same for all engines. */
export interface CommonOptions {
  dataDir: string
  supervisor: Supervisor
  say: (line: string) => void
  signal: AbortSignal
}

type OptionsFor = (name: string, image: string, port: number) => Promise<EngineOptions>

/** Returns a function that says how an engine is to be started; Docker is looked for once, when it is first needed. */
export function engineWays({ dataDir, supervisor, say, signal }: CommonOptions): OptionsFor {
  let search: Promise<Docker | undefined> | undefined

  return async function optionsFor(name, image, port) {
    const common = { supervisor, port, say, signal }
    const native = { ...common, directory: join(dataDir, name), docker: undefined }
    if (holdsData(native.directory)) return native
    search ??= findDocker(dataDir)
    const docker = await search
    const contained = { ...common, directory: join(dataDir, 'docker', name), docker }
    if (!docker) {
      if (!holdsData(contained.directory)) return native
      throw new Unavailable(`its data in ${contained.directory} were made with Docker, and no Docker engine answers`)
    }
    try {
      await pullImage(image, say, signal)
      return contained
    } catch (error) {
      if (holdsData(contained.directory)) throw new Unavailable(`no image ${image}: ${(error as Error).message}`)
      say(`${name}: Docker has no image ${image} (${(error as Error).message}); starting it without Docker`)
      return native
    }
  }
}

function holdsData(directory: string): boolean {
  try {
    return readdirSync(directory).length > 0
  } catch (error) {
    // One that cannot be read is there.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}
