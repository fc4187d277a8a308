/** The priority of a session is lowered by the process that leads it and by no other; that of threads by whoever has them. */

import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import t from 'tap'
import { lowerPriority, threadsOf } from '#common/process/priority.ts'

const module = new URL('../../process/priority.ts', import.meta.url).href
const script = `
import { readFileSync } from 'node:fs'
import { lowerSessionPriority } from '${module}'
const done = lowerSessionPriority(10)
console.log(done + readFileSync('/proc/self/autogroup', 'utf8'))
`
const threadedScript = `
const { Worker } = require('node:worker_threads')
process.stdin.once('data', () => new Worker('setInterval(() => {}, 1000)', { eval: true }).once('online', () => console.log('started')))
console.log('ready')
`
const notLinux = process.platform !== 'linux' && 'Linux only'
const skip = !existsSync('/proc/self/autogroup') && 'the kernel does not group by session'

function run(options: SpawnOptions): string {
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], options)
  return String(stdout)
}

t.test('who leads a session puts it behind others', { skip }, async (t) => {
  t.match(run({ detached: true }), /^true.* nice 10$/m)
})

t.test('who shares one leaves it as it is', { skip }, async (t) => {
  t.match(run({}), /^false/)
})

t.test('all threads of a process come second, those too that it starts later', { skip: notLinux }, async (t) => {
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

t.test('no priority is raised', { skip: notLinux }, async (t) => {
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
