/** The order in which the relay processes the rows of one user, on the real PostgreSQL. */

import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createOutbox, createRecordedEvents } from './outbox.ts'

t.test('leaves rows of unknown types, and later rows of their users, to a relay of a newer version', async (t) => {
  const { relay, insertDeletion, insertRow, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const greeted = await insertRow('user.greeted')
  await insertDeletion(greeted)
  const other = await insertDeletion()
  await relay(events).relayOnce()
  t.same(
    recorded.published.map(({ userId }) => userId),
    [other]
  )
  t.equal(await count('done_at is null and attempts = 0'), 2)
  t.equal(await count('revoked_at is not null and done_at is null'), 1, 'the sessions have ended')
})

t.test('ends the sessions of later rows while earlier rows of the user cannot be published', async (t) => {
  const { sessionSvc, relay, insertRow, insertDeletion, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  recorded.failure = unavailable('Kafka is down')
  const userId = await insertRow('user.created')
  await relayOnce()
  await insertRow('user.password_changed', { userId, epoch: 1, payload: { reset: true } })
  await relayOnce()
  t.equal(sessionSvc.lowestEpochs.get(userId), 1n)
  await insertDeletion(userId, 2)
  await relayOnce()
  t.equal(sessionSvc.lowestEpochs.get(userId), 2n)
  t.equal(await count('done_at is not null'), 0)
  recorded.failure = undefined
  await makeDue()
  while ((await relayOnce()) > 0);
  t.same(
    recorded.published.map(({ schema }) => schema.name),
    ['UserCreated', 'UserPasswordChanged', 'UserDeleted']
  )
})

t.test('the rows of a user are published in order, many rows with few calls', async (t) => {
  const { db, relay, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  const users = sql`select gen_random_uuid() as id from generate_series(1, 500)`
  await db.execute(sql`
    insert into outbox (type, user_id)
    select type, id from (${users}) users,
      (values (1, 'user.created'), (2, 'user.email_verified'), (3, 'user.disabled'), (4, 'user.enabled')) types (n, type)
    order by id, n`)
  while ((await relayOnce()) > 0);
  t.equal(await count('done_at is null'), 0)
  t.equal(recorded.published.length, 2000)
  t.same(recorded.batches, [500, 500, 500, 500])
  for (const events of Map.groupBy(recorded.published, ({ userId }) => userId).values()) {
    t.same(
      events.map(({ schema }) => schema.name),
      ['UserCreated', 'UserEmailVerified', 'UserDisabled', 'UserEnabled']
    )
  }
  t.equal(new Set(recorded.published.map(({ id }) => id)).size, 2000, 'each event has an id of its own')
})

t.test('a malformed row backs off and delays the later events of its user only', async (t) => {
  const { db, relay, insertRow, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  const stuck = await insertRow('user.created')
  await db.execute(sql`update outbox set created_at = '290000-01-01'`)
  await insertRow('user.enabled', { userId: stuck })
  const other = await insertRow('user.created')
  await relayOnce()
  t.same(
    recorded.published.map(({ userId }) => userId),
    [other]
  )
  t.equal(await count('attempts = 1 and done_at is null'), 1)
  await db.execute(sql`update outbox set created_at = now()`)
  await makeDue()
  while ((await relayOnce()) > 0);
  t.equal(await count('done_at is null'), 0)
})
