/** A connection to Kafka that has nothing to do does nothing. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createKafka } from '#common/kafka.ts'
import { engineAddress } from '#common/testing.ts'

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
