/**
 * Attacks by HTTP/2 frames on an RPC port and on the REST port with TLS: the process stays, its memory is bounded, and other
 * clients are served.
 */

import { existsSync } from 'node:fs'
import t from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { createProduct } from '../support/product.ts'
import { isServed, runAttack, type Target } from './http2-attacker.ts'
import { attacks } from './http2-attacks.ts'

const maxGrowthBytes = 200 * 1024 * 1024
const skip = existsSync('/proc/self/status') ? false : 'the memory of a process is read from /proc'
const { cert, key } = createTestCa(t).issue('gateway')
const product = await createProduct(t, { LOG_STDOUT: 'error', GATEWAY_TLS_CERT: cert, GATEWAY_TLS_KEY: key })
product.start('session-svc', 'gateway')
await product.untilReady('session-svc')
// Without user-svc, the gateway is alive and not ready.
await until('the gateway is alive', () => product.isAlive('gateway'))

const target = (name: 'session-svc' | 'gateway', more: Pick<Target, 'port' | 'tls' | 'path' | 'status'>) => {
  return { name, ...more, pid: product.process(name)?.pid ?? 0, connections: 2, count: 2000 }
}
const targets = [
  target('session-svc', {
    port: product.ports.sessions,
    tls: false,
    path: '/grpc.health.v1.Health/Check',
    status: 200
  }),
  target('gateway', { port: product.ports.rest, tls: true, path: '/auth', status: 400 })
]

for (const each of targets) await until(`${each.name} answers`, () => isServed(each))

for (const [name, attack] of Object.entries(attacks)) {
  t.test(`withstands ${name}`, { skip }, async (t) => {
    const outcomes = await Promise.all(targets.map((each) => runAttack(attack, each)))
    for (const [index, { served, notServed, grewBytes, alive }] of outcomes.entries()) {
      const service = targets[index]?.name ?? 'session-svc'
      t.ok(alive, `${service} is alive\n${alive ? '' : product.output(service).slice(-3000)}`)
      t.equal(notServed, 0, `${service} serves other clients, and did ${served} times`)
      t.ok(grewBytes < maxGrowthBytes, `the memory of ${service} grew by ${Math.round(grewBytes / 2 ** 20)} MB`)
    }
  })
}
