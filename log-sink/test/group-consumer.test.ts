/** A member of a real consumer group, and what it may still do when its session is over. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { ensureTopic } from '#common/kafka/topic.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { consumeGroup } from '../group-consumer.ts'
import type { GroupHandler } from '../group-handler.ts'

t.setTimeout(600_000)

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

/** A member that takes its time, to settle and for the first batch. @returns what happened to it, in order */
function join(t: Pick<Test, 'teardown'>, slowMs: number, settleMs = 0): string[] {
  const happened: string[] = []
  const stop = new AbortController()
  let isFirst = true
  let settling = 0
  const handler: GroupHandler = {
    async assigned(partitions) {
      settling += 1
      if (settling > 1) happened.push('two at once')
      await sleep(settleMs)
      settling -= 1
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

t.test('a member settles once at a time, whoever joins and leaves meanwhile', async (t) => {
  const first = join(t, 0, 3000)
  await until('it has all partitions', () => first.includes('assigned 2'))
  for (let round = 0; round < 2; round += 1) {
    const ends: (() => unknown)[] = []
    join({ teardown: (end) => void ends.push(end as () => unknown) }, 0)
    await sleep(2000)
    for (const end of ends) await end()
  }
  await until('it has all again', () => first.lastIndexOf('assigned 2') > first.indexOf('assigned 2'))
  t.notOk(first.includes('two at once'))
})

t.test('who is told to stop while it joins does so at once', async (t) => {
  for (const delayMs of [0, 20, 60, 150]) {
    const stop = new AbortController()
    const handler = { assigned: async () => {}, collect: async () => {}, alive() {}, failed() {} }
    const consuming = consumeGroup({ kafka, topic, group: `${topic}-${delayMs}`, prepare }, handler, stop.signal)
    await sleep(delayMs)
    const startedAt = performance.now()
    stop.abort()
    await consuming
    t.ok(performance.now() - startedAt < 5000, `after ${delayMs} ms`)
  }
})
