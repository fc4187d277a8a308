/** The delivery of outbox rows: batches, order for each user, events that the brokers reject, crashes. */

import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { until } from '#common/testing/until.ts'
import { type AccountEvents, RejectedEventError } from '../../outbox/account-events.ts'
import { createOutbox, createRecordedEvents } from './outbox.ts'

t.test('the events of 2,000 new accounts take four batches, without a pause and without a log line', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
  const { runningRelay, insertCreations, count } = await createOutbox(t, log)
  const { recorded, events } = createRecordedEvents()
  await insertCreations(2000)
  // The clock stands still, so a relay that pauses between batches publishes one only.
  runningRelay(events)
  await until('all rows are done', async () => (await count('done_at is null')) === 0)
  t.same(recorded.batches, [500, 500, 500, 500])
  t.equal(new Set(recorded.published.map(({ id }) => id)).size, 2000)
  t.same(lines, [])
})

t.test('only the completion of a deletion has a log line', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
  const { relay, insertRow, insertDeletion } = await createOutbox(t, log)
  await insertRow('user.disabled', { epoch: 1 })
  const userId = await insertDeletion()
  await relay(createRecordedEvents().events).relayOnce()
  t.match(
    lines.map((line) => JSON.parse(line)),
    [{ event: 'user_deletion_completed', userId }]
  )
  t.equal(lines.length, 1)
})

t.test('three relays publish the events of a user in order', async (t) => {
  const { relay, insertRow, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const users = Array.from({ length: 20 }, () => randomUUID() as string)
  const types = ['user.created', 'user.email_verified', 'user.disabled', 'user.enabled', 'user.deleted']
  for (const type of types) {
    const epoch = { 'user.disabled': 1, 'user.deleted': 2 }[type]
    for (const userId of users) await insertRow(type, { userId, ...(epoch !== undefined && { epoch }) })
  }
  const relays = [relay(events), relay(events), relay(events)]
  await until('all rows are done', async () => {
    await Promise.all(relays.map(({ relayOnce }) => relayOnce()))
    return (await count('done_at is null')) === 0
  })
  const inOrder = ['UserCreated', 'UserEmailVerified', 'UserDisabled', 'UserEnabled', 'UserDeleted']
  for (const userId of users) {
    t.same(
      recorded.published.filter((each) => each.userId === userId).map(({ schema }) => schema.name),
      inOrder
    )
  }
})

t.test('an event that the brokers reject fails alone, and holds only later events of its user', async (t) => {
  const { relay, insertRow, insertCreations, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { deliver } = relay(events)
  await insertCreations(300)
  const poisoned = await insertRow('user.created')
  await insertRow('user.email_verified', { userId: poisoned })
  await insertCreations(300)
  recorded.failureOf = (userId) => (userId === poisoned ? new RejectedEventError('too large') : undefined)
  await deliver()
  await deliver()
  t.equal(await count('done_at is not null'), 600)
  t.equal(await count("attempts = 1 and claimed_until > now() and type = 'user.created'"), 1)
  t.ok(recorded.batches.length <= 25, `${recorded.batches.length} batches`)
  t.equal(recorded.published.length, 600, 'no event was published twice')
  recorded.failureOf = () => undefined
  await makeDue()
  await deliver()
  await deliver()
  t.equal(await count('done_at is null'), 0)
})

t.test('during an outage one attempt fails a round, and the other rows are retried after a second', async (t) => {
  const { relay, insertCreations, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { deliver } = relay(events)
  recorded.failure = unavailable('down')
  await insertCreations(600)
  t.equal(await deliver(), 0)
  t.same(recorded.batches, [500])
  t.equal(await count('attempts = 1'), 1)
  t.equal(await count("attempts = 0 and claimed_until between now() and now() + interval '1 second'"), 499)
})

t.test('an event is published again with the same id after a crash between publication and record', async (t) => {
  const { db, relay, insertRow, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const userId = await insertRow('user.email_changed')
  const crashing: AccountEvents = {
    ...events,
    async publish(batch) {
      await events.publish(batch)
      await db.execute(sql`alter table outbox rename column done_at to hidden`)
    }
  }
  await t.rejects(relay(crashing).deliver())
  await db.execute(sql`alter table outbox rename column hidden to done_at`)
  t.equal(await count('done_at is null'), 1)
  t.notOk(await relay(events).relayOnce(), 'the lease of the crashed relay holds')
  await makeDue()
  await relay(events).relayOnce()
  t.match(
    recorded.published.map(({ id }) => id),
    [new RegExp(`^${userId}/email_changed/\\d+$`), recorded.published[0]?.id]
  )
  t.equal(await count('done_at is not null'), 1)
})
