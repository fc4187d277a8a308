/** Chooses between Docker and a process for each engine. An engine that has data keeps the runtime that created them. */

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Print, Supervisor } from '../supervisor.ts'
import { findDocker, pullImage } from './docker.ts'
import { type Docker, type EngineOptions, UnavailableError } from './engine.ts'

interface CommonOptions {
  dataDir: string
  supervisor: Supervisor
  print: Print
  signal: AbortSignal
}

type ChooseRuntime = (name: string, image: string, port: number) => Promise<EngineOptions>

/** Returns a function that chooses the runtime of an engine. It searches for Docker once, at the first engine that may use it. */
export function createRuntimeChooser({ dataDir, supervisor, print, signal }: CommonOptions): ChooseRuntime {
  let search: Promise<Docker | undefined> | undefined

  return async function chooseRuntime(name, image, port) {
    const common = { supervisor, port, print, signal }
    const native = { ...common, directory: join(dataDir, name), docker: undefined }
    if (holdsData(native.directory)) return native
    search ??= findDocker(dataDir)
    const docker = await search
    const contained = { ...common, directory: join(dataDir, 'docker', name), docker }
    if (!docker) {
      if (!holdsData(contained.directory)) return native
      throw new UnavailableError(`Docker created its data in ${contained.directory}, and no Docker engine answers`)
    }
    try {
      await pullImage(image, print, signal)
      return contained
    } catch (error) {
      if (holdsData(contained.directory)) throw new UnavailableError(`no image ${image}: ${(error as Error).message}`)
      print(`${name}: starting it without Docker, which has no image ${image}: ${(error as Error).message}`)
      return native
    }
  }
}

function holdsData(directory: string): boolean {
  try {
    return readdirSync(directory).length > 0
  } catch (error) {
    // A folder that cannot be read may hold data.
    return (error as NodeJS.ErrnoException).code !== 'ENOENT'
  }
}
