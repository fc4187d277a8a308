/** Attacks by HTTP/2 frames on an RPC port: the process stays, its memory is bounded, and other clients are served. */

import { existsSync } from 'node:fs'
import t from 'tap'
import { createProduct } from '../support/product.ts'
import { runAttack } from './http2-attacker.ts'
import { attacks } from './http2-attacks.ts'

const maxGrowthBytes = 200 * 1024 * 1024
const skip = existsSync('/proc/self/status') ? false : 'the memory of a process is read from /proc'
const product = await createProduct(t, { LOG_STDOUT: 'error' })
product.start('session-svc')
await product.untilReady('session-svc')
const target = {
  port: product.ports.sessions,
  path: '/grpc.health.v1.Health/Check',
  pid: product.process('session-svc')?.pid ?? 0,
  connections: 2,
  count: 2000
}

for (const [name, attack] of Object.entries(attacks)) {
  t.test(`withstands ${name}`, { skip }, async (t) => {
    const { notServed, grewBytes, alive } = await runAttack(attack, target)
    t.ok(alive, `the process is alive\n${alive ? '' : product.output().slice(-3000)}`)
    t.equal(notServed, 0, 'other clients are served')
    t.ok(grewBytes < maxGrowthBytes, `the memory grew by ${Math.round(grewBytes / 2 ** 20)} MB`)
  })
}
