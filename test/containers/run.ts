/** `make test-containers`: tests `make run` with Docker, and compose.yaml, on a Docker daemon in a network of its own. */

import { globSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from '../../stack/engines/debian-package.ts'
import { UnavailableError } from '../../stack/engines/engine.ts'
import { onStop } from '../../stack/stop-signals.ts'
import { isInstalled, runTool } from '../../stack/tool.ts'
import { type Counts, reportTap, sum } from '../tap-report.ts'
import { runFile } from '../tap-run.ts'
import { composeBuild } from './checkout.ts'
import { NoDaemon, startDaemon } from './daemon.ts'
import { buildEngineImages } from './engine-images.ts'
import { installDocker } from './install.ts'
import { installPlugins } from './plugins.ts'
import { importStandIn } from './product-image.ts'

process.chdir(join(import.meta.dirname, '..', '..'))
const print = (line: string) => console.log(line)
// Comments in TAP that are measurements.
const figurePattern = /^ *# measured: /
const stopped = new AbortController()
const { signal } = stopped
const named = process.argv.slice(2)
const files = named.length > 0 ? named : globSync('test/containers/suite/*.ts').sort()

onStop(
  (why) => {
    print(`${why}: stopping`)
    stopped.abort()
  },
  () => process.exit(130)
)
const counts = await run().catch((error): Counts => {
  if (error instanceof NoDaemon || error instanceof UnavailableError) {
    print(`SKIPPED ${files.length} files: ${error.message}`)
    return { passed: 0, failed: 0, skipped: files.length }
  }
  if (!signal.aborted) console.error(error)
  return { passed: 0, failed: 1, skipped: 0 }
})
if (!signal.aborted) print(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`)
process.exit(signal.aborted ? 130 : counts.failed === 0 ? 0 : 1)

async function run(): Promise<Counts> {
  await installDocker(print, signal)
  if (process.platform === 'linux' && !(await isInstalled('ip'))) await installPackages(['iproute2'], print, signal)
  await timed('images', buildImages)
  return timed('tests', test)
}

/** In the caller's network, from which npm's registry can be reached. */
async function buildImages(): Promise<void> {
  const daemon = await startDaemon({ bridged: false })
  try {
    await installPlugins(print, signal)
    await importStandIn(daemon, signal)
    await composeBuild(daemon)
    await buildEngineImages({ daemon, print, signal })
  } finally {
    await daemon.stop()
  }
}

/** In a network namespace without any connection: its bridges, filters and ports are not those of the machine. */
async function test(): Promise<Counts> {
  await runTool('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']).catch((error) => {
    throw new NoDaemon(`no network namespace: ${error.message}`)
  })
  const wrapper = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  const { MAKEFLAGS, MFLAGS, MAKEOVERRIDES, ...env } = process.env
  const all: Counts[] = []
  // One file after the other: each has the daemon for itself.
  for (const file of files) {
    const lines = await runFile(file, { env, signal, wrapper })
    for (const line of lines) if (figurePattern.test(line)) print(line.replace(figurePattern, ''))
    all.push(reportTap(lines, print))
  }
  return sum(all)
}

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const startedAt = performance.now()
  const result = await work()
  print(`-- ${name}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  return result
}
