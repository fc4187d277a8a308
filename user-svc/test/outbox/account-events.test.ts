/** The events of accounts on the real Kafka: their form, a topic that was lost, brokers that do not respond. */

import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress, silentLog, testKafka } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createAccountEvents } from '../../outbox/account-events.ts'
import { createOutbox } from './outbox.ts'

const brokers = [engineAddress('TEST_KAFKA_BROKERS')]
const newTopic = () => `events-${randomBytes(4).toString('hex')}`

function eventOptions(topic: string, addresses = brokers) {
  const accountEvents = { topic, partitions: 3, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 20 }
  return { ...testKafka(), brokers: addresses, compression: 'zstd', accountEvents } as const
}

/** The first messages of a topic, by partition. */
async function firstMessages(topic: string, count: number) {
  // The first group of a new broker waits for its coordinator, and a kafkajs consumer that met that may wait for ever.
  for (let attempt = 0; ; attempt += 1) {
    const consumer = createKafka(testKafka(), 'test').consumer({ groupId: randomUUID(), retry: { retries: 5 } })
    const found: { partition: number; key: string; value: Record<string, unknown>; type: string; signature: string }[] =
      []
    try {
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({
        eachMessage: async ({ partition, message: { key, value, headers } }) =>
          void found.push({
            partition,
            key: `${key}`,
            value: JSON.parse(`${value}`),
            type: `${headers?.['content-type']}`,
            signature: `${headers?.signature}`
          })
      })
      await until('the messages are read', () => found.length >= count, 10_000)
      return found
    } catch (error) {
      if (attempt === 3) throw error
    } finally {
      await consumer.disconnect()
    }
  }
}

t.test('publishes a CloudEvent with the user id as its key', async (t) => {
  const { db, relay, insertDeletion } = await createOutbox(t)
  const topic = newTopic()
  const events = createAccountEvents(db, eventOptions(topic), silentLog, [`a:${randomBytes(32).toString('base64')}`])
  t.teardown(events.close)
  const userId = await insertDeletion()
  await relay(events).relayOnce()
  t.match((await firstMessages(topic, 1))[0], {
    key: userId,
    type: 'application/cloudevents+json',
    signature: /^a:[\w+/]{86}==$/,
    value: {
      specversion: '1.0',
      id: `${userId}/deleted`,
      source: 'user-svc',
      type: 'user.v1.UserDeleted',
      subject: userId,
      time: /^\d{4}-.*Z$/,
      datacontenttype: 'application/json',
      data: { userId, deletedAt: /^\d{4}-.*Z$/ }
    }
  })
})

t.test('publishes the events of each type, those of a user in one partition and in order', async (t) => {
  const { db, relay, insertRow, insertDeletion } = await createOutbox(t)
  const topic = newTopic()
  const events = createAccountEvents(db, eventOptions(topic), silentLog)
  t.teardown(events.close)
  const users = [await insertRow('user.created'), await insertRow('user.created')]
  const payload = { keptSessionId: 'SEEbfY4umiHGeRoPZ3AXzg' }
  for (const userId of users) {
    for (const type of ['user.email_verified', 'user.email_changed', 'user.enabled']) await insertRow(type, { userId })
    await insertRow('user.password_changed', { userId, epoch: 1, payload: { reset: true } })
    await insertRow('user.sessions_ended', { userId, epoch: 2, payload })
    await insertRow('user.disabled', { userId, epoch: 3 })
    await insertDeletion(userId, 4)
  }
  const { relayOnce } = relay(events)
  while ((await relayOnce()) > 0);
  const messages = await firstMessages(topic, 16)
  t.equal(messages.length, 16)
  t.notMatch(JSON.stringify(messages), payload.keptSessionId)
  for (const userId of users) {
    const own = messages.filter(({ key }) => key === userId)
    t.equal(new Set(own.map(({ partition }) => partition)).size, 1)
    const at = (field: string, more = {}) => ({ userId, [field]: /^\d{4}-.*Z$/, ...more })
    const wanted: [type: string, id: string, data: object][] = [
      ['UserCreated', 'created', at('createdAt')],
      ['UserEmailVerified', 'email_verified/\\d+', at('verifiedAt')],
      ['UserEmailChanged', 'email_changed/\\d+', at('changedAt')],
      ['UserEnabled', 'enabled/\\d+', at('enabledAt')],
      ['UserPasswordChanged', 'password_changed/\\d+', at('changedAt', { reset: true })],
      ['UserSessionsEnded', 'sessions_ended/\\d+', at('endedAt', { keptOne: true })],
      ['UserDisabled', 'disabled/\\d+', at('disabledAt')],
      ['UserDeleted', 'deleted', at('deletedAt')]
    ]
    t.match(
      own.map(({ value }) => value),
      wanted.map(([type, id, data]) => {
        const time = Object.values(data)[1]
        return { type: `user.v1.${type}`, id: new RegExp(`^${userId}/${id}$`), subject: userId, time, data }
      })
    )
  }
})

t.test('a batch above the size limit of the topic is divided', async (t) => {
  const { db, relay, insertCreations, count } = await createOutbox(t)
  const topic = newTopic()
  const options = { ...eventOptions(topic), compression: 'none' as const }
  const events = createAccountEvents(db, options, silentLog)
  t.teardown(events.close)
  const { relayOnce } = relay(events)
  await insertCreations(1)
  await relayOnce()
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  const configEntries = [{ name: 'max.message.bytes', value: '8000' }]
  const resources = [{ type: 2, name: topic, configEntries }]
  await admin.alterConfigs({ validateOnly: false, resources })
  await until('the brokers apply the limit', async () => {
    const described = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: 2, name: topic }] })
    return JSON.stringify(described).includes('"8000"')
  })
  await insertCreations(100)
  await relayOnce()
  t.equal(await count('done_at is not null'), 101)
  t.ok((await firstMessages(topic, 101)).length >= 101)
})

t.test('a lost topic is not created again until its row is deleted', async (t) => {
  const { db, relay, insertDeletion, count, makeDue } = await createOutbox(t)
  const topic = newTopic()
  const relayOnce = async () => {
    const events = createAccountEvents(db, eventOptions(topic), silentLog)
    await relay(events).relayOnce()
    await events.close()
  }
  await insertDeletion()
  await relayOnce()
  t.equal(await count('done_at is not null'), 1)
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  await admin.deleteTopics({ topics: [topic] })
  await until('the topic is deleted', async () => !(await admin.listTopics()).includes(topic))
  await insertDeletion()
  await relayOnce()
  t.equal(await count('done_at is null and revoked_at is not null and attempts = 1'), 1, 'the sessions have ended')
  t.notOk((await admin.listTopics()).includes(topic))
  await db.execute(sql`delete from topics`)
  await makeDue()
  await relayOnce()
  t.equal(await count('done_at is null'), 0)
})

t.test('the relay closes while it waits for unresponsive brokers', async (t) => {
  const { db, runningRelay, insertDeletion, count } = await createOutbox(t)
  const sockets = new Set<Socket>()
  const unresponsive = createServer((socket) => sockets.add(socket.on('error', () => {})))
  await new Promise<void>((done) => unresponsive.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    unresponsive.close()
  })
  const { port } = unresponsive.address() as { port: number }
  await insertDeletion()
  const events = createAccountEvents(db, eventOptions(newTopic(), [`127.0.0.1:${port}`]), silentLog)
  const running = runningRelay(events)
  await until('the sessions have ended', async () => (await count('revoked_at is not null')) === 1)
  await until('the relay has connected to the brokers', () => sockets.size > 0)
  const startedAt = performance.now()
  await running.close()
  await events.close()
  const tookMs = Math.round(performance.now() - startedAt)
  t.ok(tookMs < 6000, `${tookMs} ms`)
  t.equal(await count('done_at is not null'), 0)
})
