/** The pool that hashes: larger than the number of hashes, and behind the event loop in priority. */

import { execFileSync } from 'node:child_process'
import t from 'tap'

const module = new URL('../hash-threads.ts', import.meta.url).href
const script = `
import { readdirSync, readFileSync } from 'node:fs'
import { prepareHashThreads } from '${module}'
await prepareHashThreads(3)
const threads = readdirSync('/proc/self/task').map((task) => readFileSync('/proc/self/task/' + task + '/stat', 'utf8'))
const nice = (stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
const pool = threads.filter((stat) => stat.includes('(libuv-worker)'))
const main = threads.find((stat) => stat.startsWith(process.pid + ' '))
console.log(JSON.stringify({ threads: pool.length, priorities: [...new Set(pool.map(nice))], main: nice(main) }))
`

t.test(
  'there are threads to spare, and only they have a lower priority',
  { skip: process.platform !== 'linux' && 'only Linux tells' },
  async (t) => {
    const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' })
    const { threads, priorities, main } = JSON.parse(output)
    t.equal(threads, 7)
    t.same(priorities, [main + 10])
  }
)
