/** An idle connection to Kafka sets no timers (tulios/kafkajs#1556, #1704). */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import t, { type Test } from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { testKafka } from '#common/testing/service.ts'

/** Counts the callbacks of a global timer function until the test ends. */
function countCallbacks(t: Test, name: 'setTimeout' | 'setInterval'): () => number {
  const original = globalThis[name]
  t.teardown(() => Object.assign(globalThis, { [name]: original }))
  let count = 0
  const counting = (callback: (...args: unknown[]) => void, ms?: number, ...args: unknown[]) =>
    original(() => {
      count += 1
      callback(...args)
    }, ms)
  Object.assign(globalThis, { [name]: Object.assign(counting, original) })
  return () => count
}

t.test('an idle connection sets no timeouts, and answers later requests', async (t) => {
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  t.match(await admin.describeCluster(), { brokers: [{}] })
  const wakeUps = countCallbacks(t, 'setTimeout')
  await sleep(500)
  t.equal(wakeUps(), 0)
  const many = await Promise.all(Array.from({ length: 50 }, () => admin.describeCluster()))
  t.ok(many.every(({ brokers }) => brokers.length > 0))
})

t.test('checks an unanswered request at most 11 times until it times out', async (t) => {
  const sockets = new Set<Socket>()
  const unresponsive = createServer((socket) => sockets.add(socket))
  await once(unresponsive.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    unresponsive.close()
  })
  const { port } = unresponsive.address() as AddressInfo
  const admin = new Kafka({
    brokers: [`127.0.0.1:${port}`],
    requestTimeout: 2000,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING
  }).admin()
  const checks = countCallbacks(t, 'setInterval')
  await t.rejects(admin.connect(), /timed out/)
  t.ok(checks() > 0 && checks() <= 11, `${checks()} checks`)
})
