/** The end of sessions by outbox rows: it waits for nothing else, and it ends the sessions that the type of the row states. */

import { Code, ConnectError } from '@connectrpc/connect'
import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { until } from '#common/testing/until.ts'
import { createOutbox, createRecordedEvents } from './outbox.ts'

t.test('the loop ends sessions while a publication does not return', async (t) => {
  const { sessionSvc, clock, runningRelay, insertRow, insertDeletion } = await createOutbox(t)
  let isPublishing = false
  const { promise: forever } = Promise.withResolvers<void>()
  await insertRow('user.created')
  runningRelay({
    publish() {
      isPublishing = true
      return forever
    },
    async close() {}
  })
  await until('a publication is in flight', () => isPublishing)
  const userId = await insertDeletion()
  await until('the sessions have ended', async () => {
    await clock.advance(500)
    return sessionSvc.lowestEpochs.has(userId)
  })
})

t.test('the sessions of a row end while the revocation of an earlier row of its user fails', async (t) => {
  const { db, sessionSvc, relay, insertRow, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { relayOnce } = relay(events)
  sessionSvc.failureOf = () => new ConnectError('epoch', Code.InvalidArgument)
  const userId = await insertRow('user.disabled', { epoch: 1 })
  await relayOnce()
  sessionSvc.failureOf = () => undefined
  await insertRow('user.deleted', { userId, epoch: 2 })
  await relayOnce()
  t.equal(sessionSvc.lowestEpochs.get(userId), 2n)
  t.same(recorded.published, [], 'the publication keeps the order')
  await db.execute(sql`update outbox set claimed_until = now() - interval '1 millisecond' where attempts = 1`)
  while ((await relayOnce()) > 0);
  t.equal(await count('done_at is not null'), 2)
})

for (const type of ['user.password_changed', 'user.disabled', 'user.sessions_ended']) {
  t.test(`${type} ends the sessions below its epoch`, async (t) => {
    const { sessions, sessionSvc, relay, insertRow } = await createOutbox(t)
    const userId = await insertRow(type, { epoch: 1 })
    await sessions.createSession({ userId })
    await sessions.createSession({ userId, epoch: 1n })
    await relay(createRecordedEvents().events).relayOnce()
    t.same(
      [...sessionSvc.live.keys()].map((hash) => sessionSvc.created.get(hash)?.epoch),
      [1n]
    )
  })
}

t.test('user.deleted ends all sessions', async (t) => {
  const { sessions, sessionSvc, relay, insertDeletion } = await createOutbox(t)
  const userId = await insertDeletion()
  await sessions.createSession({ userId, epoch: 7n })
  await relay(undefined).relayOnce()
  t.equal(sessionSvc.live.size, 0)
})

for (const type of ['user.created', 'user.email_verified', 'user.email_changed', 'user.enabled']) {
  t.test(`${type} ends no session`, async (t) => {
    const { sessions, sessionSvc, relay, insertRow, count } = await createOutbox(t)
    const userId = await insertRow(type)
    await sessions.createSession({ userId })
    sessionSvc.failure = unavailable('such a row calls nothing')
    await relay(createRecordedEvents().events).relayOnce()
    t.equal(sessionSvc.live.size, 1)
    t.equal(await count('done_at is not null and revoked_at is null'), 1)
  })
}

t.test('a kept session survives the repeated revocation after a crash', async (t) => {
  const { db, sessions, sessionSvc, relay, insertRow, count } = await createOutbox(t)
  const { recorded, events } = createRecordedEvents()
  const { revoke, relayOnce } = relay(events)
  const userId = await insertRow('user.enabled')
  const { session } = await sessions.createSession({ userId })
  await sessions.createSession({ userId })
  await insertRow('user.sessions_ended', { userId, epoch: 1, payload: { keptSessionId: session?.id } })
  await revoke()
  t.equal(sessionSvc.live.size, 1)
  const repeat = sql`update outbox set revoked_at = null, claimed_until = null where session_epoch is not null`
  await db.execute(repeat)
  await relayOnce()
  await relayOnce()
  t.equal(sessionSvc.live.size, 1)
  t.match(recorded.published.at(-1)?.message, { keptOne: true })
  t.equal(await count('done_at is null'), 0)
})

t.test('without Kafka a row is done when its sessions have ended', async (t) => {
  const { sessionSvc, relay, insertRow, insertDeletion, count, makeDue } = await createOutbox(t)
  const { relayOnce } = relay(undefined)
  sessionSvc.failure = unavailable('down')
  await insertDeletion()
  await insertRow('user.created')
  await relayOnce()
  t.equal(await count('done_at is not null'), 1)
  sessionSvc.failure = undefined
  await makeDue()
  await relayOnce()
  t.equal(await count('done_at is not null'), 2)
})
