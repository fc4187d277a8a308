/** The plugins `compose` and `buildx` of the Docker client, compiled from the Go module proxy. */

import { cpSync, existsSync, mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isInstalled, runTool } from '../../stack/tool.ts'
import { clientConfig, NoDaemon } from './daemon.ts'

const plugins = {
  compose: { module: 'github.com/docker/compose/v5', version: 'v5.6.0', main: './cmd', variable: 'internal.Version' },
  // `compose build` delegates to it.
  buildx: { module: 'github.com/docker/buildx', version: 'v0.29.1', main: './cmd/buildx', variable: 'version.Version' }
}

/**
 * Compiles the plugins into the folder of the client's configuration, unless they are there.
 *
 * @throws {NoDaemon} without Go or its modules
 */
export async function installPlugins(print: (line: string) => void, signal: AbortSignal): Promise<void> {
  for (const [name, { module, version, main, variable }] of Object.entries(plugins)) {
    const cached = join(clientConfig, 'compiled', `${name}-${version}`)
    const used = join(clientConfig, 'cli-plugins', `docker-${name}`)
    if (!existsSync(cached)) {
      if (!(await isInstalled('go'))) throw new NoDaemon(`there is no Go to compile the Docker plugin ${name}`)
      print(`compiling the Docker plugin ${name} ${version}`)
      mkdirSync(dirname(cached), { recursive: true })
      // Not `go install`, which refuses a module with exclude directives.
      const download = ['mod', 'download', '-json', `${module}@${version}`]
      const { Dir } = JSON.parse(await runTool('go', download, { cwd: '/', signal }).catch(failed(name, signal)))
      const flags = ['-trimpath', '-ldflags', `-s -w -X ${module}/${variable}=${version}`]
      const env = { ...process.env, GOFLAGS: '-mod=mod -modcacherw' }
      const draft = `${cached}.${process.pid}`
      await runTool('go', ['build', ...flags, '-o', draft, main], { cwd: Dir, env, signal }).catch(failed(name, signal))
      renameSync(draft, cached)
    }
    mkdirSync(dirname(used), { recursive: true })
    cpSync(cached, used)
  }
}

function failed(name: string, signal: AbortSignal): (error: Error) => never {
  return (error) => {
    signal.throwIfAborted()
    throw new NoDaemon(`the Docker plugin ${name} cannot be compiled: ${error.message}`)
  }
}
