/** The lock of a data directory: live, killed and concurrent runs. The lease itself is tested in common/test/process. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type RunLock, takeRunLock } from '../run-lock.ts'

const deadPid = 2 ** 22 + 1
const newPath = (t: Test) => join(t.testdir({}), 'lock')
const ignore = () => {}

/** Leaves the lock as a killed run does. */
async function leaveLock(path: string, reaperPid: number): Promise<void> {
  const lock = (await takeRunLock(path, reaperPid, ignore)) as RunLock
  const left = JSON.stringify({ ...JSON.parse(readFileSync(path, 'utf8')), pid: deadPid })
  lock.release()
  writeFileSync(path, left)
}

t.test('a second run gets the process id of the first, until that releases the lock', async (t) => {
  const path = newPath(t)
  const lock = (await takeRunLock(path, deadPid, ignore)) as RunLock
  t.equal(await takeRunLock(path, deadPid, ignore), process.pid)
  lock.release()
  t.same(readdirSync(join(path, '..')), [], 'no file is left')
  const next = (await takeRunLock(path, deadPid, ignore)) as RunLock
  t.type(next, 'object')
  next.release()
})

t.test('takes over the lock of a killed run', async (t) => {
  const path = newPath(t)
  await leaveLock(path, deadPid)
  t.type(await takeRunLock(path, deadPid, ignore), 'object')
})

t.test('takes over a lock that a full disk left empty', async (t) => {
  const path = newPath(t)
  writeFileSync(path, '')
  t.type(await takeRunLock(path, deadPid, ignore), 'object')
})

t.test('waits for the reaper of a killed run', async (t) => {
  const path = newPath(t)
  const reaper = spawn('cat')
  const reaped = once(reaper, 'exit')
  await leaveLock(path, reaper.pid as number)
  const lines: string[] = []
  const taken = takeRunLock(path, deadPid, (line) => {
    lines.push(line)
    reaper.stdin.end()
  })
  t.type(await taken, 'object')
  await reaped
  t.same(lines, ['waiting for the processes of the last run to end'])
})
