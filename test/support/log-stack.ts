/** For tests of the log pipeline: a broker, sinks and producers as processes, and the collected lines. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { startKafka } from '../../stack/engines/kafka.ts'
import { createSupervisor } from '../../stack/supervisor.ts'
import { inheritedVariables } from './inherited-variables.ts'
import { descendants } from './stack-run.ts'

type Teardown = Pick<Test, 'teardown'>

/** A folder that is removed after the test. */
export function temporaryFolder(t: Teardown): string {
  const folder = mkdtempSync(join(tmpdir(), 'logs-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A broker that restarts, with its data, a second after it is killed. */
export async function startBroker(t: Teardown) {
  const directory = temporaryFolder(t)
  const supervisor = createSupervisor(join(directory, 'run'), () => {})
  t.teardown(() => supervisor.stop([]))
  const port = await freePort()
  const options = { supervisor, directory: join(directory, 'kafka'), port, docker: undefined, print: () => {} }
  const { address, ready } = await startKafka({ ...options, signal: new AbortController().signal })
  await ready
  /** The process of the broker, found by its working directory; it changes with each start. */
  function pid(): number {
    const isBroker = ([pid]: [number, string]) => workingDirectory(pid) === join(directory, 'kafka-settings')
    const [found] = descendants(process.pid).find(isBroker) ?? []
    if (found === undefined) throw new Error('no broker runs')
    return found
  }
  return { address, signal: (signal: NodeJS.Signals) => process.kill(pid(), signal) }
}

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return undefined
  }
}

/** A process of the product, which is killed when the test ends. */
export function startProcess(t: Teardown, args: string[], env: Record<string, string>) {
  const child: ChildProcess = spawn(process.execPath, args, {
    env: { ...inheritedVariables(), ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk) => (output += chunk))
  const exited = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>
  async function end(signal: NodeJS.Signals): Promise<number | string | null> {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      // A stopped process handles no other signal.
      if (signal !== 'SIGKILL') child.kill('SIGCONT')
    }
    const [code, endSignal] = await exited
    return code ?? endSignal
  }
  t.teardown(() => end('SIGKILL'))
  return { child, end, signal: (signal: NodeJS.Signals) => child.kill(signal), output: () => output }
}

/** A sink process; `ops` fetches a path of its ops port. */
export async function startSink(t: Teardown, env: Record<string, string>) {
  const port = await freePort()
  const sink = startProcess(t, ['log-sink/server.ts'], { ...env, LOG_SINK_OPS_PORT: String(port) })
  const ops = async (path: string) =>
    fetch(`http://127.0.0.1:${port}${path}`).then(
      async (response) => ({ status: response.status, text: await response.text() }),
      () => ({ status: 0, text: '' })
    )
  return {
    ...sink,
    ops,
    isReady: async () => (await ops('/readyz')).status === 200,
    metric: async (name: string) => sumOf((await ops('/metrics')).text, name)
  }
}

/** The value of a series, or the sum of all series of a metric; NaN if there is none. */
export function sumOf(page: string, name: string): number {
  const pattern = new RegExp(`^${name.replaceAll(/[{}"]/g, '\\$&')}(?:\\{.*\\})? (\\S+)$`, 'gm')
  const values = [...page.matchAll(pattern)].map(([, value]) => Number(value))
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value)
}

/** A collected line. */
interface CollectedLine {
  service: string
  instance: string
  event?: string
  count?: number
  traceId?: string
  msg: string
}

/**
 * The lines of all files of a kind below a folder, in the order of the files of each partition. A partial line at the
 * end is left out.
 */
export function collectedLines(directory: string, kind = 'lines'): CollectedLine[] {
  const files = globSync(`**/${kind}-*.ndjson{,.gz}`, { cwd: directory }).sort()
  return files
    .filter((file) => !file.endsWith('.gz') || !files.includes(file.slice(0, -3)))
    .flatMap((file) =>
      textOf(join(directory, file))
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as CollectedLine)
    )
}

/** The content of a file, which may have been compressed since it was listed. */
function textOf(path: string): string {
  try {
    const bytes = readFileSync(path)
    return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || path.endsWith('.gz')) throw error
    return textOf(`${path}.gz`)
  }
}
