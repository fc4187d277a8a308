/** New topics on a real broker. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { createTopic } from '#common/kafka/topic.ts'
import { testKafka } from '#common/testing/service.ts'

t.setTimeout(120_000)

const clients = 10
const partitions = 20

t.test('creates a topic, also if the broker learns of it later than the controller', async (t) => {
  const admins = Array.from({ length: clients }, (_, index) => createKafka(testKafka(), `test-${index}`).admin())
  await Promise.all(admins.map((admin) => admin.connect()))
  t.teardown(() => Promise.all(admins.map((admin) => admin.disconnect())))
  const topics = admins.map((_, index) => `new-${randomBytes(4).toString('hex')}-${index}`)
  const outcomes = await Promise.allSettled(
    admins.map((admin, index) => createTopic(admin, { topic: `${topics[index]}`, numPartitions: partitions }))
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
})
