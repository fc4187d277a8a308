/** One run for each data directory, also when runs were killed or many come at once. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { processStart } from '#common/process/process-identity.ts'
import { type RunLock, takeRunLock } from '../run-lock.ts'

const nobody = 2 ** 22 + 1

function lockPath(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'lock-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return join(folder, 'lock')
}

t.test('a lock that is held names its holder, and is free after its release', async (t) => {
  const path = lockPath(t)
  const lock = (await takeRunLock(path, nobody, () => {})) as RunLock
  t.equal(await takeRunLock(path, nobody, () => {}), process.pid)
  lock.release()
  t.type((await takeRunLock(path, nobody, () => {})) as RunLock, 'object')
  t.same(readdirSync(join(path, '..')), ['lock'], 'nothing else is left in the folder')
})

t.test('the lock of a dead process is taken over', async (t) => {
  const path = lockPath(t)
  writeFileSync(path, JSON.stringify({ pid: nobody, startedAt: '1', reaperPid: nobody }))
  t.type(await takeRunLock(path, nobody, () => {}), 'object')
})

t.test('so is one whose process id belongs to another process by now', async (t) => {
  const path = lockPath(t)
  const startedAt = `${processStart(process.pid)}1`
  writeFileSync(path, JSON.stringify({ pid: process.pid, startedAt, reaperPid: nobody }))
  t.type(await takeRunLock(path, nobody, () => {}), 'object')
})

t.test('so is one that a full disk left empty', async (t) => {
  const path = lockPath(t)
  writeFileSync(path, '')
  t.type(await takeRunLock(path, nobody, () => {}), 'object')
})

t.test('what a dead run left behind is waited for', async (t) => {
  const path = lockPath(t)
  const reaper = spawn('sleep', ['1'])
  const gone = once(reaper, 'exit')
  writeFileSync(path, JSON.stringify({ pid: nobody, startedAt: '1', reaperPid: reaper.pid }))
  const lines: string[] = []
  await takeRunLock(path, nobody, (line) => lines.push(line))
  await gone
  t.same(lines, ['waiting for the processes of the last run to end'])
})

t.test('of many that come at once, one gets a stale lock', async (t) => {
  const path = lockPath(t)
  writeFileSync(path, JSON.stringify({ pid: nobody, startedAt: '1', reaperPid: nobody }))
  const source = join(import.meta.dirname, '..', 'run-lock.ts')
  const script = `
    const { takeRunLock } = await import(${JSON.stringify(source)})
    const lock = await takeRunLock(${JSON.stringify(path)}, ${nobody}, () => {})
    process.stdout.write(typeof lock === 'number' ? 'refused ' : 'taken ')
    process.stdin.resume()`
  const contenders = Array.from({ length: 6 }, () =>
    spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  )
  const answers = await Promise.all(contenders.map(async ({ stdout }) => String((await once(stdout, 'data'))[0])))
  for (const contender of contenders) contender.stdin.end()
  t.same(answers.sort(), ['refused ', 'refused ', 'refused ', 'refused ', 'refused ', 'taken '])
  t.ok(existsSync(path))
})
