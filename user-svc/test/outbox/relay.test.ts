/** The outbox relay on the real PostgreSQL: every row is processed despite failures, by any number of relays. */

import { randomUUID } from 'node:crypto'
import { toJson } from '@bufbuild/protobuf'
import { Code, ConnectError } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { revocationOf } from '../../outbox/account-event-types.ts'
import type { OutboxRow } from '../../outbox/outbox-rows.ts'
import { createOutbox, createRecordedEvents } from './outbox.ts'

t.test('ends the sessions, publishes the event, and marks the row as done', async (t) => {
  const { sessionSvc, relay, insertDeletion, count, pending } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce, housekeep } = relay(events)
  const userId = await insertDeletion()
  await housekeep()
  t.equal(await pending(), 1)
  t.ok(await relayOnce())
  t.equal(sessionSvc.lowestEpochs.get(userId), 1n)
  t.match(recorded.published, [{ id: `${userId}/deleted`, userId }])
  t.equal(await count('done_at is not null and revoked_at is not null'), 1)
  t.notOk(await relayOnce(), 'there are no more rows')
  await housekeep()
  t.equal(await pending(), 0)
})

t.test('publishes nothing while session-svc is unavailable, and completes afterwards', async (t) => {
  const { sessionSvc, relay, insertDeletion, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  sessionSvc.failure = unavailable('down')
  const userId = await insertDeletion()
  await relayOnce()
  t.same(recorded.published, [])
  t.equal(await count('done_at is null and revoked_at is null and attempts = 0'), 1, 'an outage does not back off')
  sessionSvc.failure = undefined
  await makeDue()
  await relayOnce()
  t.equal(sessionSvc.lowestEpochs.get(userId), 1n)
  t.equal(await count('done_at is not null'), 1)
})

t.test('ends all sessions while Kafka is unavailable, and publishes afterwards', async (t) => {
  const { sessionSvc, relay, insertDeletion, count, makeDue } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  recorded.failure = unavailable('down')
  const users = [await insertDeletion(), await insertDeletion(), await insertDeletion()]
  await relayOnce()
  t.same(
    users.map((userId) => sessionSvc.lowestEpochs.get(userId)),
    [1n, 1n, 1n]
  )
  t.equal(await count('revoked_at is not null and done_at is null'), 3)
  t.equal(await count('attempts = 1'), 1, 'the first row shows the outage, the others are not tried')
  recorded.failure = undefined
  sessionSvc.failure = unavailable('sessions that have ended need no call')
  await makeDue()
  await relayOnce()
  t.equal(await count('done_at is not null'), 3)
  t.same(recorded.published.map(({ userId }) => userId).toSorted(), users.toSorted())
})

t.test('three relays process each row once, in order for each user', async (t) => {
  const { relay, insertDeletion, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const users = Array.from({ length: 60 }, () => randomUUID() as string)
  for (const epoch of [1, 2, 3]) for (const userId of users) await insertDeletion(userId, epoch)
  const relays = [relay(events), relay(events), relay(events)]
  await until('all rows are done', async () => {
    await Promise.all(relays.map(({ relayOnce }) => relayOnce()))
    return (await count('done_at is null')) === 0
  })
  t.equal(recorded.published.length, 180)
  for (const userId of users) {
    const times = recorded.published.filter((each) => each.userId === userId).map(({ occurredAt }) => occurredAt)
    t.same(
      times,
      times.toSorted((a, b) => a.getTime() - b.getTime())
    )
    t.equal(times.length, 3)
  }
})

t.test('leaves a row to the relay that holds its lease, and claims it when the lease has ended', async (t) => {
  const { db, relay, insertDeletion, count } = await createOutbox(t)
  const { relayOnce } = relay(createRecordedEvents().events)
  await insertDeletion()
  await db.execute(sql`update outbox set claimed_until = now() + interval '1 hour'`)
  t.notOk(await relayOnce())
  await db.execute(sql`update outbox set claimed_until = now() - interval '1 millisecond'`)
  t.ok(await relayOnce())
  t.equal(await count('done_at is not null'), 1)
})

t.test('each type has its event and its revocation', async (t) => {
  const { relay, insertRow, insertDeletion } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const keptSessionId = 'SEEbfY4umiHGeRoPZ3AXzg'
  const userId = await insertRow('user.created')
  for (const type of ['user.email_verified', 'user.email_changed', 'user.enabled']) await insertRow(type, { userId })
  await insertRow('user.password_changed', { userId, epoch: 1, payload: { reset: false } })
  await insertRow('user.sessions_ended', { userId, epoch: 2, payload: { keptSessionId } })
  await insertRow('user.disabled', { userId, epoch: 3 })
  await insertDeletion(userId, 4)
  const { relayOnce } = relay(events)
  while ((await relayOnce()) > 0);
  const at = (field: string, more = {}) => ({ userId, [field]: /^\d{4}-.*Z$/, ...more })
  const wanted: [name: string, data: object][] = [
    ['UserCreated', at('createdAt')],
    ['UserEmailVerified', at('verifiedAt')],
    ['UserEmailChanged', at('changedAt')],
    ['UserEnabled', at('enabledAt')],
    ['UserPasswordChanged', at('changedAt')],
    ['UserSessionsEnded', at('endedAt', { keptOne: true })],
    ['UserDisabled', at('disabledAt')],
    ['UserDeleted', at('deletedAt')]
  ]
  const found = recorded.published.map(({ schema, message }) => [schema.name, toJson(schema, message)])
  t.match(found, wanted)
  const call = (row: Partial<OutboxRow>) => revocationOf({ userId, sessionEpoch: 2n, payload: {}, ...row } as OutboxRow)
  t.same(call({ type: 'user.sessions_ended', payload: { keptSessionId } }), { userId, epoch: 2n, keptSessionId })
  t.same(call({ type: 'user.deleted' }), { userId, epoch: 2n, all: true })
  t.same(call({ type: 'user.disabled' }), { userId, epoch: 2n })
  const highest = call({ type: 'user.sessions_ended', payload: { keptSessionId }, sessionEpoch: 2n ** 53n })
  t.same(highest, { userId, epoch: maxRevokedEpoch, all: true }, 'no session has a higher epoch')
})

t.test('the loop continues after an error of a handler and of the database', async (t) => {
  const { db, sessionSvc, clock, runningRelay, insertDeletion, count, makeDue } = await createOutbox(t)
  sessionSvc.failure = new ConnectError('broken', Code.Internal)
  await insertDeletion()
  runningRelay(createRecordedEvents().events)
  const relayed = (what: string, condition: string) =>
    until(what, async () => {
      await clock.advance(500)
      return (await count(condition)) === 1
    })
  await relayed('an attempt failed', 'attempts = 1')
  await db.execute(sql`alter table outbox rename column done_at to hidden`)
  await clock.advance(500)
  await db.execute(sql`select pg_sleep(0.2)`)
  await db.execute(sql`alter table outbox rename column hidden to done_at`)
  sessionSvc.failure = undefined
  await makeDue()
  await relayed('the row is done', 'done_at is not null')
})

t.test('deletes rows 30 days after they were done', async (t) => {
  const { db, relay, insertDeletion, count } = await createOutbox(t)
  const { relayOnce, housekeep } = relay(createRecordedEvents().events)
  for (let each = 0; each < 3; each += 1) await insertDeletion()
  await relayOnce()
  await db.execute(sql`update outbox set done_at = now() - interval '31 days' where id = (select min(id) from outbox)`)
  await housekeep()
  t.equal(await count('true'), 2)
})

fieldCase(t, 22, 'a deletion that cannot be finished backs off, is reported, and delays no other user', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
  const { db, sessionSvc, clock, relay, insertDeletion, count, makeDue, failing } = await createOutbox(t, log)
  const { relayOnce, housekeep } = relay(createRecordedEvents().events)
  const stuck = new Set(await Promise.all(Array.from({ length: 60 }, () => insertDeletion())))
  sessionSvc.failureOf = (userId) => (stuck.has(userId) ? new ConnectError('epoch', Code.InvalidArgument) : undefined)
  while (await relayOnce());
  t.equal(await count('attempts = 1'), 60)
  const others = await Promise.all(Array.from({ length: 5 }, () => insertDeletion()))
  await relayOnce()
  t.equal(await count('done_at is not null'), others.length)
  for (let attempts = 2; attempts <= 3; attempts += 1) {
    await makeDue()
    await relayOnce()
    await relayOnce()
    t.equal(await count(`attempts = ${attempts}`), 60)
  }
  await housekeep()
  t.equal(await failing(), 60)
  const reports = () => lines.map((line) => JSON.parse(line)).filter(({ dependency }) => dependency === 'session-svc')
  t.match(reports(), [{ event: 'outbox_delayed', code: 'invalid_argument', count: 1 }], 'one line a minute')

  await db.execute(sql`update outbox set attempts = 1000, claimed_until = null where done_at is null`)
  await clock.advance(60_000)
  await relayOnce()
  t.match(reports()[1], { event: 'outbox_delayed', reason: 'attempt 1001', count: 180 })
  t.ok((await count('attempts > 1000')) > 0)
  t.equal(await count("attempts > 1000 and claimed_until > now() + interval '61 seconds'"), 0, 'the wait is bounded')
  sessionSvc.failureOf = () => undefined
  await makeDue()
  while (await relayOnce());
  t.equal(await count('done_at is null or attempts > 0'), 0)
})
