/** An engine for one test, which freezes, kills and restarts it. */

import { spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { freePort } from '#common/testing/ports.ts'
import { until } from '#common/testing/until.ts'
import { startPostgres } from '../../stack/engines/postgres.ts'
import { pingRedis } from '../../stack/engines/redis.ts'
import { createSupervisor } from '../../stack/supervisor.ts'
import { temporaryFolder } from './log-stack.ts'
import { descendants } from './stack-run.ts'

type Teardown = Pick<Test, 'teardown'>

/** A PostgreSQL that restarts with its data a second after a kill. */
export async function startOwnPostgres(t: Teardown) {
  const directory = temporaryFolder(t)
  const supervisor = createSupervisor(join(directory, 'run'), () => {})
  const port = await freePort()
  const { admin: url } = await startPostgres({
    supervisor,
    directory: join(directory, 'data'),
    secretsDirectory: directory,
    port,
    docker: undefined,
    print: () => {},
    signal: new AbortController().signal,
    settings: { fsync: 'off' }
  })
  const leader = () => descendants(process.pid).find(([, command]) => command.includes(`port=${port}`))?.[0] ?? 0

  /** Signals all of its processes, because each connection has its own. */
  function signal(name: NodeJS.Signals): void {
    const pid = leader()
    // A signal to 0 would reach the process group of the test.
    if (pid === 0) throw new Error('no PostgreSQL runs')
    // The leader stops first, so that it starts no process, and continues last.
    const pids = [pid, ...descendants(pid).map(([each]) => each)]
    for (const each of name === 'SIGCONT' ? pids.toReversed() : pids) process.kill(each, name)
  }

  t.teardown(async () => {
    if (leader() > 0) signal('SIGCONT')
    await supervisor.stop([])
  })
  return { url, port, signal, dataDirectory: join(directory, 'data') }
}

/** A Redis that keeps its data over a crash, also if the disk is slow (docs/operate/deploy.md, `appendfsync`). */
export async function startOwnRedis(t: Teardown) {
  const directory = join(temporaryFolder(t), 'redis')
  mkdirSync(directory)
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  const durability = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'always']
  const run = () =>
    spawn('redis-server', ['--port', String(port), '--dir', directory, ...durability], { stdio: 'ignore' })
  let child = run()

  async function kill(): Promise<void> {
    const ended = new Promise((done) => child.once('exit', done))
    child.kill('SIGKILL')
    await ended
  }

  t.teardown(kill)
  await until('redis answers', () => isUp(pingRedis(url)))
  return {
    url,
    port,
    kill,
    signal: (name: NodeJS.Signals) => child.kill(name),
    start: () => {
      child = run()
    }
  }
}

async function isUp(ping: Promise<void>): Promise<boolean> {
  return ping.then(
    () => true,
    () => false
  )
}
