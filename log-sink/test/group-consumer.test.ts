/** A member of a real consumer group, and what it may still do when its session is over. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createKafka } from '#common/kafka.ts'
import { engineAddress, silentLog } from '#common/testing.ts'
import { ensureTopic } from '#common/topic.ts'
import { consumeGroup, type GroupHandler } from '../group-consumer.ts'

t.setTimeout(120_000)

const brokers = engineAddress('TEST_KAFKA_BROKERS').split(',')
const kafka = createKafka(brokers, 'test')
const topic = `sessions-${randomBytes(4).toString('hex')}`
const options = { topic, partitions: 2, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 30 }
const memory = { wasThere: () => false, noteThere: () => {}, remedy: '' }
const prepare: Parameters<typeof consumeGroup>[0]['prepare'] = (admin) => ensureTopic(admin, options, memory, silentLog)

async function write(text: string): Promise<void> {
  const producer = kafka.producer()
  await producer.connect()
  const messages = [0, 1].map((partition) => ({ partition, value: text }))
  await producer.send({ topic, messages })
  await producer.disconnect()
}

/** A member that takes its time for the first batch. @returns what happened to it, in order */
function join(t: Pick<Test, 'teardown'>, slowMs: number): string[] {
  const happened: string[] = []
  const stop = new AbortController()
  let isFirst = true
  const handler: GroupHandler = {
    async assigned(partitions) {
      happened.push(`assigned ${partitions.length}`)
    },
    async collect({ next }, { commit }) {
      happened.push('begun')
      if (isFirst) await sleep(slowMs)
      isFirst = false
      await commit(next, '').then(
        () => happened.push('committed'),
        (error) => {
          happened.push('refused')
          throw error
        }
      )
    },
    alive() {},
    failed() {}
  }
  const consuming = consumeGroup({ kafka, topic, group: topic, prepare }, handler, stop.signal)
  t.teardown(async () => {
    stop.abort()
    await consuming
  })
  return happened
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + 30_000
  while (!holds()) {
    if (performance.now() > giveUpAt) throw new Error(`not in time: ${what}`)
    await sleep(20)
  }
}

t.test('a batch comes to its end before the session does that follows, whatever ended its own', async (t) => {
  const happened = join(t, 15_000)
  await until('it has all partitions', () => happened.includes('assigned 2'))
  await write('x')
  await until('it has a batch', () => happened.includes('begun'))
  const admin = kafka.admin()
  await admin.connect()
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
  await until('the next session has begun', () => happened.filter((each) => each === 'assigned 2').length === 2)
  t.same(happened, ['assigned 2', 'begun', 'refused', 'assigned 2'])
})
