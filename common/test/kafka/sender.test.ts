/** The sender on a real broker. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createKafka, createSender } from '#common/kafka/client.ts'
import { createTopic } from '#common/kafka/topic.ts'
import { testKafka } from '#common/testing/service.ts'

t.setTimeout(60_000)

t.test('records that are sent before the connection is open wait for it', async (t) => {
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const topic = `sent-${randomBytes(4).toString('hex')}`
  await createTopic(admin, { topic, numPartitions: 10 })
  const sender = createSender({ ...testKafka(), compression: 'none' }, 'test')
  t.teardown(sender.close)
  const partitions = Array.from({ length: 10 }, (_, partition) => partition)
  for (let round = 0; round < 5; round += 1) {
    const sent = partitions.map((partition) => sender.send(topic, { key: 'k', value: 'v', partition }))
    t.same(await Promise.all(sent), partitions)
    await sender.close()
  }
  await admin.deleteTopics({ topics: [topic] })
})
