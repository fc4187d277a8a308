/** A rejected commit ends the membership, without a second join beside its successor. */

import { randomBytes } from 'node:crypto'
import type { Consumer, Kafka } from 'kafkajs'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { ensureTopic } from '#common/kafka/topic.ts'
import { silentLog, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { consumeGroup } from '../group-consumer.ts'
import type { GroupHandler } from '../group-handler.ts'

t.setTimeout(600_000)

const kafka = createKafka(testKafka(), 'test')
const topic = `rejoin-${randomBytes(4).toString('hex')}`
const options = { topic, partitions: 2, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 30 }
const memory = { wasCreated: () => false, recordCreated: () => {}, remedy: '' }

/** A client that records the JoinGroup requests of its consumers, which it numbers. */
function observedKafka(happened: string[]): Kafka {
  let consumers = 0
  const consumer: Kafka['consumer'] = (config) => {
    consumers += 1
    const number = consumers
    const created: Consumer = kafka.consumer(config)
    created.on(created.events.REQUEST, ({ payload: { apiName } }) => {
      if (apiName === 'JoinGroup') happened.push(`consumer ${number} joins`)
    })
    return created
  }
  return { ...kafka, consumer, admin: () => kafka.admin() } as Kafka
}

t.test('a rejected commit causes no second join', async (t) => {
  const admin = kafka.admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const happened: string[] = []
  const stop = new AbortController()
  let releaseCommit: (() => void) | undefined
  const handler: GroupHandler = {
    async onAssigned() {},
    async collect({ next }, { commit }) {
      if (releaseCommit === undefined) {
        happened.push('started')
        await new Promise<void>((resolve) => {
          releaseCommit = resolve
        })
      }
      await commit(next, '').catch((error) => {
        happened.push(`rejected: ${error.type}`)
        throw error
      })
    },
    onResponse() {},
    onFailure() {},
    onForeignMembers() {}
  }
  const prepare: Parameters<typeof consumeGroup>[0]['prepare'] = (each) => ensureTopic(each, options, memory, silentLog)
  const consuming = consumeGroup(
    { kafka: observedKafka(happened), clientId: 'test', topic, group: topic, prepare },
    handler,
    stop.signal
  )
  t.teardown(async () => {
    stop.abort()
    await consuming
  })
  const groupMembers = async () => {
    // kafkajs finds the coordinator after it has read the metadata.
    await admin.listTopics()
    const { groups } = await admin.describeGroups([topic]).catch(() => ({ groups: [] }))
    return groups[0]?.members.map(({ memberId }) => memberId) ?? []
  }
  await until('the consumer is a member', async () => (await groupMembers()).length === 1)
  const [expelled = ''] = await groupMembers()
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ partition: 0, value: 'x' }] })
  await producer.disconnect()
  await until('the consumer has a batch', () => happened.includes('started'))

  // Another member joins: the group waits for the first member, whose batch takes longer, and expels it.
  const other = kafka.consumer({ groupId: topic, sessionTimeout: 6000, rebalanceTimeout: 6000 })
  t.teardown(() => other.disconnect())
  await other.connect()
  await other.subscribe({ topics: [topic] })
  await other.run({ eachMessage: async () => {} })
  await until('the first member is expelled', async () => !(await groupMembers()).includes(expelled))
  releaseCommit?.()
  await until('the commit is rejected', () => happened.some((each) => each.startsWith('rejected')))
  const rejectedAt = happened.findIndex((each) => each.startsWith('rejected'))
  const later = () => happened.slice(rejectedAt).filter((each) => each.endsWith('joins'))
  const own = happened.slice(0, rejectedAt).findLast((each) => each.endsWith('joins')) ?? ''
  t.ok(own, 'the joins of the rejected member are recorded')
  await until('its successor joins', () => later().some((each) => each !== own))
  await until('the group has two members', async () => (await groupMembers()).length === 2)
  t.match(happened[rejectedAt], /UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION/)
  t.notOk(later().includes(own), 'the rejected member does not join again')
})
