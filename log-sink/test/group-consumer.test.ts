/** Members of a real consumer group, at the end of their sessions. */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { ensureTopic } from '#common/kafka/topic.ts'
import { silentLog, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { consumeGroup } from '../group-consumer.ts'
import type { GroupHandler } from '../group-handler.ts'

t.setTimeout(600_000)

const kafka = createKafka(testKafka(), 'test')
const topic = `sessions-${randomBytes(4).toString('hex')}`
const options = { topic, partitions: 2, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 30 }
const memory = { wasCreated: () => false, recordCreated: () => {}, remedy: '' }
const prepare: Parameters<typeof consumeGroup>[0]['prepare'] = (admin) => ensureTopic(admin, options, memory, silentLog)

async function write(text: string): Promise<void> {
  const producer = kafka.producer()
  await producer.connect()
  const messages = [0, 1].map((partition) => ({ partition, value: text }))
  await producer.send({ topic, messages })
  await producer.disconnect()
}

/** A member with a slow first batch or a slow recovery. @returns its events, in order */
function join(t: Pick<Test, 'teardown'>, slowMs: number, recoveryMs = 0): string[] {
  const happened: string[] = []
  const stop = new AbortController()
  let isFirst = true
  let recoveries = 0
  const handler: GroupHandler = {
    async onAssigned(partitions) {
      recoveries += 1
      if (recoveries > 1) happened.push('two recoveries at once')
      await sleep(recoveryMs)
      recoveries -= 1
      happened.push(`assigned ${partitions.length}`)
    },
    async collect({ next }, { commit }) {
      happened.push('started')
      if (isFirst) await sleep(slowMs)
      isFirst = false
      await commit(next, '').then(
        () => happened.push('committed'),
        (error) => {
          happened.push('rejected')
          throw error
        }
      )
    },
    onResponse() {},
    onFailure() {},
    onForeignMembers() {}
  }
  const consuming = consumeGroup({ kafka, clientId: 'test', topic, group: topic, prepare }, handler, stop.signal)
  t.teardown(async () => {
    stop.abort()
    await consuming
  })
  return happened
}

t.test('the next session starts after the batch of the previous one has ended', async (t) => {
  const happened = join(t, 15_000)
  await until('the member has all partitions', () => happened.includes('assigned 2'))
  await write('x')
  await until('the member has a batch', () => happened.includes('started'))
  const admin = kafka.admin()
  await admin.connect()
  await admin.deleteTopics({ topics: [topic] })
  await admin.disconnect()
  await until('the next session has started', () => happened.filter((each) => each === 'assigned 2').length === 2)
  t.same(happened, ['assigned 2', 'started', 'rejected', 'assigned 2'])
})

t.test('recovers once at a time while other members join and leave', async (t) => {
  const first = join(t, 0, 3000)
  await until('the member has all partitions', () => first.includes('assigned 2'))
  for (let round = 0; round < 2; round += 1) {
    const ends: (() => unknown)[] = []
    join({ teardown: (end) => void ends.push(end as () => unknown) }, 0)
    await sleep(2000)
    for (const end of ends) await end()
  }
  await until(
    'the member has all partitions again',
    () => first.lastIndexOf('assigned 2') > first.indexOf('assigned 2')
  )
  t.notOk(first.includes('two recoveries at once'))
})

t.test('stops at any time during a join', async (t) => {
  for (const delayMs of [0, 20, 60, 150]) {
    const stop = new AbortController()
    const handler = {
      onAssigned: async () => {},
      collect: async () => {},
      onResponse() {},
      onFailure() {},
      onForeignMembers() {}
    }
    const consuming = consumeGroup(
      { kafka, clientId: 'test', topic, group: `${topic}-${delayMs}`, prepare },
      handler,
      stop.signal
    )
    await sleep(delayMs)
    const startedAt = performance.now()
    stop.abort()
    await consuming
    t.ok(performance.now() - startedAt < 5000, `after ${delayMs} ms`)
  }
})
