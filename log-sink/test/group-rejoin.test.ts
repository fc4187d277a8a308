/** A member whose commit the group refuses ends its membership; it does not join a second time beside its successor. */

import { randomBytes } from 'node:crypto'
import type { Consumer, Kafka } from 'kafkajs'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { ensureTopic } from '#common/kafka/topic.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { consumeGroup } from '../group-consumer.ts'
import type { GroupHandler } from '../group-handler.ts'

t.setTimeout(600_000)

const kafka = createKafka(engineAddress('TEST_KAFKA_BROKERS').split(','), 'test')
const topic = `rejoin-${randomBytes(4).toString('hex')}`
const options = { topic, partitions: 2, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 30 }
const memory = { wasThere: () => false, noteThere: () => {}, remedy: '' }

/** The client, and what its consumers do: the requests to join, in order, with the number of the consumer. */
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

t.test('a refused commit causes no second join', async (t) => {
  const admin = kafka.admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const happened: string[] = []
  const stop = new AbortController()
  let mayCommit: (() => void) | undefined
  const handler: GroupHandler = {
    async assigned() {},
    async collect({ next }, { commit }) {
      if (mayCommit === undefined) {
        happened.push('begun')
        await new Promise<void>((resolve) => {
          mayCommit = resolve
        })
      }
      await commit(next, '').catch((error) => {
        happened.push(`refused: ${error.type}`)
        throw error
      })
    },
    alive() {},
    failed() {}
  }
  const prepare: Parameters<typeof consumeGroup>[0]['prepare'] = (each) => ensureTopic(each, options, memory, silentLog)
  const consuming = consumeGroup({ kafka: observedKafka(happened), topic, group: topic, prepare }, handler, stop.signal)
  t.teardown(async () => {
    stop.abort()
    await consuming
  })
  const groupMembers = async () => {
    // The client finds a coordinator once it knows brokers.
    await admin.listTopics()
    const { groups } = await admin.describeGroups([topic]).catch(() => ({ groups: [] }))
    return groups[0]?.members.map(({ memberId }) => memberId) ?? []
  }
  await until('it is a member', async () => (await groupMembers()).length === 1)
  const [expelled = ''] = await groupMembers()
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ partition: 0, value: 'x' }] })
  await producer.disconnect()
  await until('it has a batch', () => happened.includes('begun'))

  // Another member joins: the group waits for the first one, whose batch takes longer, and expels it.
  const other = kafka.consumer({ groupId: topic, sessionTimeout: 6000, rebalanceTimeout: 6000 })
  t.teardown(() => other.disconnect())
  await other.connect()
  await other.subscribe({ topics: [topic] })
  await other.run({ eachMessage: async () => {} })
  await until('the first member is expelled', async () => !(await groupMembers()).includes(expelled))
  mayCommit?.()
  await until('the commit is refused', () => happened.some((each) => each.startsWith('refused')))
  const refusedAt = happened.findIndex((each) => each.startsWith('refused'))
  const later = () => happened.slice(refusedAt).filter((each) => each.endsWith('joins'))
  const own = happened.slice(0, refusedAt).findLast((each) => each.endsWith('joins')) ?? ''
  t.ok(own, 'the joins of the refused member are seen')
  await until('its successor joins', () => later().some((each) => each !== own))
  await until('the group is whole', async () => (await groupMembers()).length === 2)
  t.match(happened[refusedAt], /UNKNOWN_MEMBER_ID|ILLEGAL_GENERATION/)
  t.notOk(later().includes(own), 'the refused member does not join again')
})
