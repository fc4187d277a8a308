/** Engines that a test kills, freezes, empties and restarts. None outlives the test. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { startKafka } from '../../stack/engines/kafka.ts'
import { startPostgres } from '../../stack/engines/postgres.ts'
import { startRedis } from '../../stack/engines/redis.ts'
import { startReaper } from '../../stack/reaper.ts'
import type { Program } from '../../stack/supervised.ts'
import type { Supervisor } from '../../stack/supervisor.ts'
import { descendants } from './stack-run.ts'

type EngineName = 'postgres' | 'redis' | 'kafka'

interface EngineProcess {
  port: number
  /** Starts the engine with its data and, when it answers, resolves to its address. */
  start(): Promise<string>
  /** Kills the engine and keeps its data. */
  kill(): Promise<void>
  /** Suspends all of its processes. */
  freeze(): void
  thaw(): void
  /** Removes the data of a stopped engine. */
  empty(): void
}

/** @param kafkaAdvertisedPort the port that the broker announces to clients */
export async function createEngineProcesses(t: Pick<Test, 'teardown'>, kafkaAdvertisedPort: number) {
  const directory = mkdtempSync(join(tmpdir(), 'engines-'))
  // PostgreSQL runs as another user.
  chmodSync(directory, 0o755)
  const reaper = startReaper(3000)
  const children = new Map<string, ChildProcess>()

  async function launch({ name, command, stopSignal = 'SIGTERM' }: Program): Promise<void> {
    const { file, args, options } = await command()
    const own =
      name === 'kafka' ? ['--override', `advertised.listeners=CLIENTS://127.0.0.1:${kafkaAdvertisedPort}`] : []
    const child = spawn(file, [...args, ...own], { ...options, detached: true, stdio: 'ignore' })
    children.set(name, child)
    const { pid } = child
    if (pid === undefined) throw new Error(`${name} cannot be started`)
    reaper.started(pid, stopSignal)
    child.once('exit', () => reaper.ended(pid))
  }

  const supervisor: Supervisor = {
    start: (program) => void launch(program),
    stop: async () => {},
    killAll: () => {},
    reaperPid: reaper.pid
  }

  /** Signals descendants too: PostgreSQL's backends have their own process groups. */
  function signal(name: EngineName, signal: NodeJS.Signals): void {
    const { pid, exitCode, signalCode } = children.get(name) ?? {}
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    for (const each of [pid, ...descendants(pid).map(([id]) => id)]) {
      try {
        process.kill(each, signal)
      } catch (error) {
        // The process has ended.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
  }

  async function kill(name: EngineName): Promise<void> {
    const child = children.get(name)
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    signal(name, 'SIGKILL')
    await exited
  }

  async function engine(name: EngineName): Promise<EngineProcess> {
    const port = await freePort()
    const data = join(directory, name)
    const options = {
      supervisor,
      directory: data,
      port,
      docker: undefined,
      print: () => {},
      signal: new AbortController().signal
    }
    const start = {
      async postgres() {
        const settings = { fsync: 'off', max_connections: '100' }
        return (await startPostgres({ ...options, secretsDirectory: directory, settings })).admin
      },
      redis: async () => (await startRedis({ ...options, secretsDirectory: directory })).admin,
      async kafka() {
        const { address, ready } = await startKafka(options)
        await ready
        return address
      }
    }[name]
    return {
      port,
      start,
      kill: () => kill(name),
      freeze: () => signal(name, 'SIGSTOP'),
      thaw: () => signal(name, 'SIGCONT'),
      empty: () => rmSync(data, { recursive: true, force: true })
    }
  }

  t.teardown(async () => {
    await Promise.all(([...children.keys()] as EngineName[]).map(kill))
    reaper.dismiss()
    rmSync(directory, { recursive: true, force: true })
  })

  return { postgres: await engine('postgres'), redis: await engine('redis'), kafka: await engine('kafka') }
}
