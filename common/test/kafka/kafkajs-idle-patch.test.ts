/** A connection to Kafka that has nothing to do does nothing. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kafka, logLevel } from 'kafkajs'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress } from '#common/testing/service.ts'

t.test('no timers are set while nothing is asked, and what is asked then is answered', async (t) => {
  const admin = createKafka(engineAddress('TEST_KAFKA_BROKERS').split(','), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  t.match(await admin.describeCluster(), { brokers: [{}] })
  const { setTimeout } = globalThis
  t.teardown(() => {
    globalThis.setTimeout = setTimeout
  })
  let timers = 0
  globalThis.setTimeout = Object.assign((...args: Parameters<typeof setTimeout>) => {
    timers += 1
    return setTimeout(...args)
  }, setTimeout) as typeof setTimeout
  await sleep(300)
  t.equal(timers, 0)
  const many = await Promise.all(Array.from({ length: 50 }, () => admin.describeCluster()))
  t.ok(many.every(({ brokers }) => brokers.length > 0))
})

t.test('a broker that says nothing is waited for a tenth longer than it may take, at most', async (t) => {
  const silent = createServer((socket) => sockets.add(socket))
  const sockets = new Set<Socket>()
  await once(silent.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    silent.close()
  })
  const { port } = silent.address() as AddressInfo
  const admin = new Kafka({
    brokers: [`127.0.0.1:${port}`],
    requestTimeout: 2000,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING
  }).admin()
  const askedAt = performance.now()
  await t.rejects(admin.connect(), /timed out/)
  const waitedMs = performance.now() - askedAt
  t.ok(waitedMs >= 1990, `${waitedMs} ms`)
})
