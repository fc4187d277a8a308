/** `make test-containers`: tests `make run` with Docker, and compose.yaml, on a Docker daemon in a network of its own. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { installPackages } from '../../stack/engines/debian-package.ts'
import { UnavailableError } from '../../stack/engines/engine.ts'
import { onStop } from '../../stack/stop-signals.ts'
import { isInstalled, runTool } from '../../stack/tool.ts'
import { type Counts, reportTap } from '../tap-report.ts'
import { composeBuild } from './checkout.ts'
import { NoDaemon, startDaemon } from './daemon.ts'
import { buildEngineImages } from './engine-images.ts'
import { installDocker } from './install.ts'
import { installPlugins } from './plugins.ts'
import { importStandIn } from './product-image.ts'

process.chdir(join(import.meta.dirname, '..', '..'))
const print = (line: string) => console.log(line)
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
  // One file after the other: each has the daemon for itself.
  const tap = ['tap', 'run', '--jobs=1', '--reporter=tap', ...files]
  const script = 'ip link set lo up && exec "$@"'
  const { MAKEFLAGS, MFLAGS, MAKEOVERRIDES, ...env } = process.env
  const child = spawn('unshare', ['--net', 'sh', '-c', script, 'sh', ...tap], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
    signal
  })
  const exited = once(child, 'exit')
  const counts = await reportTap(withFigures(createInterface({ input: child.stdout })), print)
  const [code] = await exited
  if (code !== 0 && counts.failed === 0) counts.failed = 1
  return counts
}

/** Passes TAP through and prints the comments in it that are measurements. */
async function* withFigures(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) {
    const figure = /^ *# measured: (.+)/.exec(line)?.[1]
    if (figure) print(figure)
    yield line
  }
}

async function timed<T>(name: string, work: () => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const startedAt = performance.now()
  const result = await work()
  print(`-- ${name}: ${((performance.now() - startedAt) / 1000).toFixed(1)} s\n`)
  return result
}
