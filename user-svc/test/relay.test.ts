/** The outbox's relay: what a deletion has begun is finished, whatever fails meanwhile and however many relays there are. */

import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { Gauge, Registry } from '@prometheus-io/client'
import { sql } from 'drizzle-orm'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createKafka } from '#common/kafka/client.ts'
import { createLogger } from '#common/logging/logger.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { createTestDatabase, engineAddress, silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createAccountEvents } from '../account-events.ts'
import { connectDatabase } from '../database.ts'
import { migrateDatabase } from '../migrations.ts'
import { startRelay } from '../relay.ts'
import { sessionsDouble, sessionTransport } from './service.ts'

t.setTimeout(600_000)
const brokers = [engineAddress('TEST_KAFKA_BROKERS')]

interface CloudEvent {
  id: string
  type: string
  subject: string
  time: string
  data: { userId: string }
}

/** A database with an outbox, a double of session-svc, and a topic of its own. */
async function surroundings(t: Test, log = silentLog) {
  const url = await createTestDatabase(t)
  await migrateDatabase(url)
  const { db, close } = connectDatabase({ url, maxConnections: 5, queryTimeout: 3000 })
  t.teardown(close)
  const double = sessionsDouble()
  const topic = `events-${randomBytes(4).toString('hex')}`
  const pending = new Gauge({ name: 'auth_outbox_pending', help: 'x', registers: [new Registry()] })
  const failing = new Gauge({ name: 'auth_outbox_failing', help: 'x', registers: [new Registry()] })
  const accountEvents = { topic, partitions: 3, replication: 1, retention: 3_600_000, retentionBytes: 2 ** 20 }

  function relay(overrides: { brokers?: string[] } = {}) {
    const events = createAccountEvents(db, { brokers, compression: 'zstd', accountEvents, ...overrides }, silentLog)
    const sessions = createClient(SessionService, sessionTransport(double))
    const started = startRelay({ db, sessions, events, pending, failing, log })
    t.teardown(started.close)
    return started
  }

  /** A row as a deletion leaves it. */
  async function deleted(userId: string = randomUUID(), epoch = 1): Promise<string> {
    await db.execute(
      sql`insert into outbox (type, user_id, session_epoch) values ('user.deleted', ${userId}, ${epoch})`
    )
    return userId
  }

  const count = async (condition: string) =>
    Number((await db.execute(sql`select count(*) as n from outbox where ${sql.raw(condition)}`)).rows[0]?.n)

  /** All that is in the topic. */
  async function published(): Promise<{ key: string; value: CloudEvent; type: string }[]> {
    const kafka = createKafka(brokers, 'test')
    const admin = kafka.admin()
    await admin.connect()
    const ends = await admin.fetchTopicOffsets(topic)
    await admin.disconnect()
    const expected = ends.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0)
    // The first group of a new broker waits for its coordinator, and a consumer that met that may wait for ever.
    for (let attempt = 0; ; attempt += 1) {
      const consumer = kafka.consumer({ groupId: randomUUID(), retry: { retries: 5 } })
      const found: { key: string; value: CloudEvent; type: string }[] = []
      try {
        await consumer.connect()
        await consumer.subscribe({ topics: [topic], fromBeginning: true })
        await consumer.run({
          eachMessage: async ({ message: { key, value, headers } }) =>
            void found.push({ key: `${key}`, value: JSON.parse(`${value}`), type: `${headers?.['content-type']}` })
        })
        await until('the topic is read', () => found.length >= expected, 10_000)
        return found
      } catch (error) {
        if (attempt === 3) throw error
      } finally {
        await consumer.disconnect()
      }
    }
  }

  return { db, double, topic, relay, deleted, count, until, published, pending, failing }
}

t.test('sessions are ended, others are told by a CloudEvent, and the row is done', async (t) => {
  const { double, relay, deleted, count, until, published, pending } = await surroundings(t)
  const userId = await deleted()
  relay()
  await until('it is done', async () => (await count('done_at is not null')) === 1)
  t.equal(double.lowestEpochs.get(userId), 1n)
  const [event] = await published()
  t.match(event, {
    key: userId,
    type: 'application/cloudevents+json',
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
  await until('nothing is pending', async () => (await pending.get()).values[0]?.value === 0)
})

t.test('while session-svc is away nobody is told; then it is finished by itself', async (t) => {
  const { double, relay, deleted, count, until, pending } = await surroundings(t)
  double.failure = unavailable('Not now.')
  const userId = await deleted()
  relay()
  await until('it is pending', async () => (await pending.get()).values[0]?.value === 1)
  await sleep(1500)
  t.equal(await count('done_at is not null or revoked_at is not null'), 0)
  double.failure = undefined
  await until('it is done', async () => (await count('done_at is not null')) === 1)
  t.equal(double.lowestEpochs.get(userId), 1n)
})

t.test('while Kafka is away sessions end all the same', async (t) => {
  const { double, relay, deleted, count, until, published } = await surroundings(t)
  const users = [await deleted(), await deleted(), await deleted()]
  const first = relay({ brokers: ['127.0.0.1:1'] })
  await until('all sessions are ended', async () => (await count('revoked_at is not null')) === 3)
  t.ok(users.every((userId) => double.lowestEpochs.get(userId) === 1n))
  t.equal(await count('done_at is not null'), 0)
  await first.close()
  relay()
  await until('all is done', async () => (await count('done_at is not null')) === 3)
  t.same((await published()).map(({ key }) => key).toSorted(), users.toSorted())
})

t.test('a relay that waits for mute brokers does not hold up the end of the service', async (t) => {
  const { relay, deleted, count, until } = await surroundings(t)
  const sockets = new Set<Socket>()
  const mute = createServer((socket) => sockets.add(socket.on('error', () => {})))
  await new Promise<void>((done) => mute.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    mute.close()
  })
  await deleted()
  const stuck = relay({ brokers: [`127.0.0.1:${(mute.address() as { port: number }).port}`] })
  await until('the sessions are ended', async () => (await count('revoked_at is not null')) === 1)
  await until('the brokers are asked', () => sockets.size > 0)
  const startedAt = performance.now()
  await stuck.close()
  t.ok(performance.now() - startedAt < 6000, `${Math.round(performance.now() - startedAt)} ms`)
  t.equal(await count('done_at is not null'), 0)
})

t.test('three relays at once do each thing, and for each user in order', async (t) => {
  const { relay, deleted, count, until, published } = await surroundings(t)
  const users = Array.from({ length: 60 }, () => randomUUID() as string)
  for (const epoch of [1, 2, 3]) for (const userId of users) await deleted(userId, epoch)
  for (let each = 0; each < 3; each += 1) relay()
  await until('all is done', async () => (await count('done_at is not null')) === 180)
  const events = await published()
  t.ok(events.length >= 180)
  t.same(new Set(events.map(({ key }) => key)), new Set(users))
  t.equal(await count('revoked_at is null'), 0)
  for (const userId of users) {
    const times = events.filter(({ key }) => key === userId).map(({ value }) => value.time)
    t.same(times, times.toSorted())
  }
})

t.test('what a relay had claimed when it died another finishes when the claim is over', async (t) => {
  const { db, relay, deleted, count, until } = await surroundings(t)
  await deleted()
  await db.execute(sql`update outbox set claimed_until = now() + interval '1500 milliseconds', revoked_at = now()`)
  relay()
  await sleep(700)
  t.equal(await count('done_at is not null'), 0, 'it is not touched before')
  await until('it is done', async () => (await count('done_at is not null')) === 1)
})

t.test('a topic that is gone is not made again', async (t) => {
  const { topic, db, relay, deleted, count, until } = await surroundings(t)
  await deleted()
  const first = relay()
  await until('it is done', async () => (await count('done_at is not null')) === 1)
  await first.close()
  const admin = createKafka(brokers, 'test').admin()
  await admin.connect()
  t.teardown(() => admin.disconnect())
  await admin.deleteTopics({ topics: [topic] })
  await deleted()
  relay()
  await until('the sessions are ended', async () => (await count('revoked_at is not null')) === 2)
  await sleep(2500)
  t.notOk((await admin.listTopics()).includes(topic))
  t.equal(await count('done_at is null'), 1)
  await db.execute(sql`delete from topics`)
  await until('it is done', async () => (await count('done_at is null')) === 0)
})

t.test('an error that is none of these does not stop it', async (t) => {
  const { double, relay, deleted, count, until } = await surroundings(t)
  double.failure = new ConnectError('broken', Code.Internal)
  await deleted()
  relay()
  await sleep(1200)
  double.failure = undefined
  await until('it is done', async () => (await count('done_at is not null')) === 1)
})

fieldCase(t, 22, 'a deletion that cannot be finished backs off, is reported, and delays no other user', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
  const { db, double, relay, deleted, count, until, failing } = await surroundings(t, log)
  const stuck = new Set(await Promise.all(Array.from({ length: 60 }, () => deleted())))
  double.failureOf = (userId) => (stuck.has(userId) ? new ConnectError('epoch', Code.InvalidArgument) : undefined)
  relay()
  await until('each has failed', async () => (await count('attempts > 0')) === 60)
  const others = await Promise.all(Array.from({ length: 5 }, () => deleted()))
  await until('the others are done', async () => (await count('done_at is not null')) === others.length)
  await until('three attempts failed', async () => (await count('attempts >= 3')) === 60)
  await until('a metric reports it', async () => (await failing.get()).values[0]?.value === 60)
  const reports = lines.map((line) => JSON.parse(line)).filter(({ dependency }) => dependency === 'session-svc')
  t.match(reports, [{ event: 'outbox_delayed', code: 'invalid_argument' }], 'one line a minute')
  await db.execute(sql`update outbox set attempts = 1000, claimed_until = null where done_at is null`)
  await until('it was tried again', async () => (await count('attempts > 1000')) > 0)
  t.equal(
    await count("attempts > 1000 and claimed_until > now() + interval '61 seconds'"),
    0,
    'the back-off is bounded'
  )
  double.failureOf = () => undefined
  await db.execute(sql`update outbox set claimed_until = null where done_at is null`)
  await until('all is done', async () => (await count('done_at is null')) === 0)
  t.equal(await count('attempts > 0'), 0)
})
