/** The priority of a session is lowered by the process that leads it and by no other; that of threads by whoever has them. */

import { type SpawnOptions, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'
import t from 'tap'
import { lowerPriority, threadsOf } from '../priority.ts'

const module = new URL('../priority.ts', import.meta.url).href
const script = `
import { readFileSync } from 'node:fs'
import { lowerSessionPriority } from '${module}'
const done = lowerSessionPriority(10)
console.log(done + readFileSync('/proc/self/autogroup', 'utf8'))
`
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

t.test('all threads of a process come second', { skip: process.platform !== 'linux' && 'Linux only' }, async (t) => {
  const child = spawn(process.execPath, ['--eval', 'setInterval(() => {}, 1000)'])
  t.teardown(() => child.kill())
  const pid = child.pid as number
  lowerPriority(10, pid)
  const threads = threadsOf(pid)
  t.ok(threads.length > 0)
  t.ok(threads.every((thread) => getPriority(thread) === 10))
  setPriority(pid, 15)
  lowerPriority(10, pid)
  t.equal(getPriority(pid), 15, 'what is lower stays so')
})
