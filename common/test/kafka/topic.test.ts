/** New topics on a real broker. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createKafka, createSender } from '#common/kafka/client.ts'
import { createTopic } from '#common/kafka/topic.ts'
import { testKafka } from '#common/testing/service.ts'

t.setTimeout(120_000)

const clients = 10
const partitions = 20

t.test(
  'a topic takes records once it is created, also if the broker learns of it later than the controller',
  async (t) => {
    const admins = Array.from({ length: clients }, (_, index) => createKafka(testKafka(), `test-${index}`).admin())
    await Promise.all(admins.map((admin) => admin.connect()))
    t.teardown(() => Promise.all(admins.map((admin) => admin.disconnect())))
    const topics = admins.map((_, index) => `new-${randomBytes(4).toString('hex')}-${index}`)
    const sender = createSender({ ...testKafka(), compression: 'none' }, 'test')
    t.teardown(sender.close)
    const outcomes = await Promise.allSettled(
      admins.map(async (admin, index) => {
        const topic = topics[index] as string
        await createTopic(admin, { topic, numPartitions: partitions })
        await sender.sendAll(
          topic,
          Array.from({ length: partitions }, (_, partition) => ({ key: topic, value: 'v', partition }))
        )
      })
    )
    t.same(
      outcomes.filter(({ status }) => status === 'rejected'),
      []
    )
    const { topics: known } = await (admins[0] as (typeof admins)[number]).fetchTopicMetadata({ topics })
    t.same(
      known.map((topic) => topic.partitions.length),
      topics.map(() => partitions)
    )
    await admins[0]?.deleteTopics({ topics })
  }
)
