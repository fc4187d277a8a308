/** The thread pool that computes hashes: its size and its priority. */

import { execFileSync } from 'node:child_process'
import t from 'tap'

const module = new URL('../../passwords/hash-threads.ts', import.meta.url).href
const script = `
import { readdirSync, readFileSync } from 'node:fs'
import { prepareHashThreads } from '${module}'
const lines = []
await prepareHashThreads(3, { warn: ({ event }) => lines.push(event), debug() {} })
const threads = readdirSync('/proc/self/task').map((task) => readFileSync('/proc/self/task/' + task + '/stat', 'utf8'))
const nice = (stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
const pool = threads.filter((stat) => stat.includes('(libuv-worker)'))
const main = threads.find((stat) => stat.startsWith(process.pid + ' '))
console.log(JSON.stringify({ threads: pool.length, priorities: [...new Set(pool.map(nice))], main: nice(main), lines }))
`
const skip = process.platform !== 'linux' && 'only Linux lists threads'

t.test('the pool has spare threads, and only its threads have a lower priority', { skip }, async (t) => {
  const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })
  const { threads, priorities, main, lines } = JSON.parse(output)
  t.equal(threads, 7)
  t.same(priorities, [main + 10])
  t.same(lines, [])
})
