/** Lower priorities of processes and threads, on real ones. */

import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import t from 'tap'
import { lowerPriority, threadsOf } from '#common/process/priority.ts'

const threadedScript = `
const { Worker } = require('node:worker_threads')
process.stdin.once('data', () => new Worker('setInterval(() => {}, 1000)', { eval: true }).once('online', () => console.log('started')))
console.log('ready')
`
const notLinux = process.platform !== 'linux' && 'Linux only'
const noAutogroup = !existsSync('/proc/self/autogroup') && 'the kernel does not group by session'

/** Lowers the session of a new process. @returns the result, and the session's entry in /proc */
function lowerOwnSession(options: SpawnOptions): string {
  const script = `
import { readFileSync } from 'node:fs'
import { lowerSessionPriority } from '${new URL('../../process/priority.ts', import.meta.url).href}'
console.log(lowerSessionPriority(10), readFileSync('/proc/self/autogroup', 'utf8'))
`
  return String(spawnSync(process.execPath, ['--input-type=module', '--eval', script], options).stdout)
}

t.test('lowers the session that the process leads, and no other', { skip: noAutogroup }, async (t) => {
  t.match(lowerOwnSession({ detached: true }), /^true .* nice 10$/m)
  t.match(lowerOwnSession({}), /^false/)
})

t.test('lowers all threads of a process, and those that it starts later', { skip: notLinux }, async (t) => {
  const child = spawn(process.execPath, ['--eval', threadedScript], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  const pid = child.pid as number
  await once(child.stdout, 'data')
  const before = threadsOf(pid)
  lowerPriority(10, pid)
  t.ok(before.length > 1)
  t.same(nices(before), [10])
  child.stdin.write('start a thread')
  await once(child.stdout, 'data')
  const after = threadsOf(pid)
  t.ok(after.length > before.length)
  t.same(nices(after), [10])
})

t.test('raises no priority', { skip: notLinux }, async (t) => {
  const child = spawn(process.execPath, ['--eval', threadedScript], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  const pid = child.pid as number
  await once(child.stdout, 'data')
  setPriority(pid, 15)
  lowerPriority(10, pid)
  t.equal(getPriority(pid), 15)
})

function nices(threads: number[]): number[] {
  return [...new Set(threads.map((thread) => getPriority(thread)))]
}
