/** `make run` with Docker: the engines are containers, keep their data, are restarted, and stop with the run. */

import { readdirSync } from 'node:fs'
import t from 'tap'
import { until } from '#common/testing/until.ts'
import { newAddress, password } from '../../support/product.ts'
import { startStack, temporaryDataDir } from '../../support/stack-run.ts'
import { startDaemon } from '../daemon.ts'

t.setTimeout(300_000)

const daemon = await startDaemon({ bridged: true })
t.teardown(daemon.stop)
const engines = ['kafka', 'postgres', 'redis']

/** The ids of the running containers, by engine. */
async function containers(): Promise<Map<string, string>> {
  const rows = (await daemon.docker('ps', '--no-trunc', '--format', '{{.Names}} {{.ID}}')).split('\n').filter(Boolean)
  return new Map(rows.map((row) => row.slice(row.lastIndexOf('-') + 1).split(' ') as [string, string]))
}

async function status(base: string, path: string, json: unknown): Promise<number> {
  const headers = { 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body: JSON.stringify(json), signal: AbortSignal.timeout(5000) }
  return fetch(base + path, init).then(
    ({ status }) => status,
    () => 0
  )
}

t.test('the data survive a stop, a second run and the kill of each container', async (t) => {
  const dataDir = temporaryDataDir(t)
  const json = { email: newAddress(), password }
  const first = startStack(t, dataDir, daemon.environment)
  await first.printed(/^ready$/, 120_000)
  t.comment(`measured: make run with Docker: ${first.lines.find((line) => line.startsWith('started in'))}`)
  t.same([...(await containers()).keys()].toSorted(), engines, 'each engine is a container')
  t.same(
    readdirSync(dataDir).filter((name) => engines.includes(name)),
    [],
    'no engine is a process'
  )
  t.equal(await status(await first.address('gateway', /REST/), '/reg', json), 201)
  first.child.kill('SIGINT')
  t.same(await first.exited, [0, null], 'Ctrl-C stops it')
  t.equal((await daemon.docker('ps', '--all', '--quiet')).trim(), '', 'no container is left')

  const second = startStack(t, dataDir, daemon.environment)
  await second.printed(/^ready$/, 120_000)
  const base = await second.address('gateway', /REST/)
  t.equal(await status(base, '/auth', json), 200, 'a second run keeps the data')
  const before = await containers()
  for (const id of before.values())
    process.kill(Number(await daemon.docker('inspect', '--format', '{{.State.Pid}}', id)), 'SIGKILL')
  for (const engine of engines) await second.printed(new RegExp(`^${engine} ended .*; restarting it`))
  await until(
    'new containers run',
    async () => {
      const now = await containers()
      return engines.every((engine) => now.has(engine) && now.get(engine) !== before.get(engine))
    },
    60_000
  )
  await until('the account can log in again', async () => (await status(base, '/auth', json)) === 200, 60_000)
  await until('log-sink is ready', async () => isReady(await second.address('log-sink', /ops/)), 60_000)
  second.child.kill('SIGINT')
  t.same(await second.exited, [0, null])
  t.equal((await daemon.docker('ps', '--all', '--quiet')).trim(), '', 'no container is left')
})

t.test('removes the containers of a killed run', async (t) => {
  const stack = startStack(t, temporaryDataDir(t), daemon.environment)
  await stack.printed(/^ready$/, 120_000)
  stack.child.kill('SIGKILL')
  await until('its containers end', async () => (await containers()).size === 0, 60_000)
})

async function isReady(ops: string): Promise<boolean> {
  return fetch(`${ops}/readyz`).then(
    ({ ok }) => ok,
    () => false
  )
}
