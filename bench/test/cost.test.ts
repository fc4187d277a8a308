/** CPU time of a process, of the hash threads in user-svc, and of an operation without the idle share. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { besideHash, type Cost, costOf, formatCosts } from '../cost.ts'
import { cpuSeconds, processTime, proportionalMb } from '../processes.ts'
import type { Product } from '../product.ts'

const cost = (gateway: number, hash: number): Cost => ({
  gateway,
  'user-svc': 0,
  'session-svc': 0,
  'log-sink': 0,
  postgres: 0,
  redis: 0,
  kafka: 0,
  'hash threads': hash
})

t.test('subtracts the idle share from the cost of an operation', async (t) => {
  // Ten seconds of load, five idle seconds: 3 s of CPU, 1 s of it the idle share.
  const each = costOf(cost(3, 7), cost(0.5, 0), 2, 1000)
  t.equal(each.gateway, 2000)
  t.equal(each['hash threads'], 7000)
  t.equal(besideHash(each), 2000)
  t.match(formatCosts([each, each]), /^gateway 2\.000, .*hash threads 7\.000 ms$/)
})

t.test(
  'counts hash threads apart from the other threads of user-svc',
  { skip: !existsSync('/proc/self/stat') },
  async (t) => {
    const folder = join(t.testdir(), 'user-svc')
    mkdirSync(folder)
    // Half as long in the pool as in the event loop.
    const code = `import { pbkdf2, pbkdf2Sync } from 'node:crypto'
    pbkdf2Sync('a', 'b', 2_000_000, 32, 'sha256')
    pbkdf2('a', 'b', 1_000_000, 32, 'sha256', () => { console.log('hashed'); setInterval(() => {}, 1000) })`
    writeFileSync(join(folder, 'server.ts'), code)
    const child = spawn(process.execPath, [join(folder, 'server.ts')], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill())
    await once(child.stdout, 'data')
    const seconds = cpuSeconds({ pid: process.pid } as Product)
    t.ok(seconds['hash threads'] > 0.05, `${seconds['hash threads']} s in the pool`)
    t.ok(seconds['user-svc'] > seconds['hash threads'], `${seconds['user-svc']} s beside it`)
    t.equal(seconds.gateway, 0)
    const both = seconds['user-svc'] + seconds['hash threads']
    t.ok(Math.abs(both - processTime(child.pid as number)) < 0.1, 'the sum is the CPU time of the process')
    const own = processTime(process.pid)
    child.kill()
    await once(child, 'exit')
    t.ok(processTime(process.pid) >= own, 'an ended child still counts')
    t.ok(proportionalMb(process.pid) > 10)
  }
)
