/** A process that crashes logs why, serves the requests in progress, and ends with a code other than 0 (OWASP ASVS 16.5.4). */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'

/** Starts the service. The test stops it. */
async function start(t: Test, timeoutMs: number) {
  const directory = mkdtempSync(join(tmpdir(), 'crash-'))
  const args = [join(import.meta.dirname, 'crashing-service.ts'), directory, String(timeoutMs)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit', 'ipc'] })
  t.teardown(() => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true, force: true })
  })
  let output = ''
  child.stdout?.on('data', (chunk) => (output += chunk))
  const closed = once(child, 'close') as Promise<[code: number | null, signal: string | null]>
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  const call = (path: string) => fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
  const parsed = (text: string) =>
    text
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line))
      // Before or after the start.
      .filter(({ event }) => event !== 'dependency_up')
  return {
    call,
    closed,
    printed: () => parsed(output),
    spooled: () =>
      globSync('**/*.ndjson', { cwd: directory }).flatMap((file) => parsed(readFileSync(join(directory, file), 'utf8')))
  }
}

for (const path of ['/throw', '/reject']) {
  t.test(`an uncaught error (${path}) is logged, and ends the process after a drain`, async (t) => {
    const { call, closed, printed, spooled } = await start(t, 20_000)
    const slow = await call('/slow')
    await call(path)
    t.equal(await slow.text(), 'served', 'the request in progress')
    t.same(await closed, [1, null])
    const events = printed().map(({ level, event, err, msg }) => ({ level, event, err, msg }))
    t.match(events, [
      { level: 'info', event: 'sys_startup' },
      { level: 'fatal', event: 'sys_crash', err: { type: 'Error', stack: /crashing-service/ } },
      { level: 'info', event: 'sys_shutdown', msg: 'stopped' }
    ])
    t.match(
      spooled().map(({ event }) => event),
      ['sys_startup', 'sys_crash', 'sys_shutdown'],
      'the log has the lines'
    )
  })
}

t.test('a drain that does not end is cut off after shutdown.timeout, or by a second error', async (t) => {
  for (const [path, timeoutMs, expected] of [
    ['/throw', 300, ['stopped after shutdown.timeout']],
    ['/twice', 60_000, ['second uncaught error', 'stopped at once']]
  ] as const) {
    const { call, closed, printed } = await start(t, timeoutMs)
    const stuck = (await call('/stuck')).text()
    stuck.catch(() => {})
    await call(path)
    t.same(await closed, [1, null])
    await t.rejects(stuck)
    const messages = printed()
      .slice(1)
      .map(({ level, msg }) => [level, msg])
    t.match(messages, [['fatal', /^uncaught error/], ...expected.map((text) => [/fatal|error/, new RegExp(text)])])
  }
})
