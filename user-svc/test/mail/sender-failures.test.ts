/** The sender while the mail server fails: it retries, pauses, gives up after a day, and delays no other email. */

import { sql } from 'drizzle-orm'
import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { until } from '#common/testing/until.ts'
import { MailError } from '../../mail/mail-error.ts'
import { createEmails, quickDelivery, sendAll } from './emails.ts'
import { addressOf, closedPort, noOpenssl, startFrozenServer, startMailServer } from './mail-server.ts'

const skip = noOpenssl
const reply = (responseCode: number) => Object.assign(new Error('no'), { responseCode })

t.test('retries an email that the server greylists', { skip }, async (t) => {
  const { sender, insert, count, makeDue, metric } = await createEmails(t)
  let rejected = 0
  const server = await startMailServer(t, {
    onRcptTo(_address, _session, done) {
      rejected += 1
      done(rejected <= 2 ? reply(451) : null)
    }
  })
  await insert()
  const { startDue, onIdle } = sender(quickDelivery(server.address()))
  for (const attempts of [1, 2]) {
    await startDue()
    await onIdle()
    t.equal(await count(`sent_at is null and dead_at is null and attempts = ${attempts} and failure = '451'`), 1)
    await startDue()
    await onIdle()
    t.equal(rejected, attempts, 'it waits before the next attempt')
    await makeDue()
  }
  await startDue()
  await onIdle()
  t.equal(await count('sent_at is not null'), 1)
  t.equal(server.received.length, 1)
  t.equal(await metric('auth_emails_failed_total{reason="deferred"}'), 2)
})

t.test('an email that the server rejects for good is a dead letter, and delays no other', { skip }, async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
  const { sender, insert, insertUser, count, metric } = await createEmails(t, log)
  const server = await startMailServer(t, {
    onRcptTo: ({ address }, _session, done) => done(/poison/.test(address) ? reply(550) : null)
  })
  const { id: userId } = await insertUser('poison@example.org')
  await insert({ userId, recipient: 'poison@example.org', purpose: 'reset' })
  for (let each = 0; each < 7; each += 1) await insert()
  await sendAll(sender(quickDelivery(server.address())))
  t.equal(server.received.length, 7)
  t.equal(await count(`dead_at is not null and failure = '550'`), 1)
  t.equal(await metric('auth_emails_dead_total'), 1)
  const dead = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'email_dead')
  t.match(dead, [{ level: 'error', userId, reason: 'reset: 550' }])
  t.notMatch(lines.join(''), /poison|example\.org/)
})

t.test('an email that breaks every connection, an unusable row and a bug delay no other', { skip }, async (t) => {
  const { sender, insert, count, compose } = await createEmails(t)
  const server = await startMailServer(t, {
    onRcptTo({ address }, session, done) {
      if (/breaks/.test(address)) server.reset(session)
      else if (!/mute/.test(address)) done()
    }
  })
  await insert({ recipient: 'breaks@example.org' })
  await insert({ recipient: 'mute@example.org' })
  await insert({ recipient: 'not an address' })
  const bug = await insert()
  for (let each = 0; each < 12; each += 1) await insert()
  const composeOrThrow = async (row: Parameters<typeof compose>[0]) => {
    if (row.id === bug) throw new TypeError('a bug')
    return compose(row)
  }
  await sendAll(sender(quickDelivery(server.address()), { compose: composeOrThrow }))
  t.equal(server.received.length, 12)
  t.equal(await count('sent_at is not null'), 12)
  t.equal(await count(`dead_at is not null and failure = 'unusable'`), 1)
  for (const failure of ['connection-lost', 'timeout', 'internal']) {
    t.equal(await count(`dead_at is null and attempts > 0 and failure = '${failure}'`), 1, failure)
  }
})

t.test('pauses while the server is down: one email probes it, and no attempt is counted', { skip }, async (t) => {
  const { sender, insert, count, clock, makeDue } = await createEmails(t)
  const server = await startMailServer(t)
  const targets = [addressOf(await closedPort()), addressOf(await startFrozenServer(t)), server.address()]
  let deliveries = 0
  const { startDue, onIdle, probe } = sender((message, signal) => {
    deliveries += 1
    return quickDelivery(targets[0] as (typeof targets)[0])(message, signal)
  })
  for (let each = 0; each < 8; each += 1) await insert()
  for (const kind of ['unreachable', 'timeout']) {
    await makeDue()
    const before = deliveries
    await startDue()
    await onIdle()
    t.equal(deliveries - before, kind === 'unreachable' ? 5 : 1)
    await t.rejects(probe(), { name: 'ProbeError', message: `does not accept emails (${kind})` })
    await makeDue()
    t.notOk(await startDue(), 'paused')
    t.equal(await count('attempts = 0 and sent_at is null'), 8)
    targets.shift()
    await clock.advance(30_000)
  }
  await makeDue()
  await startDue()
  await onIdle()
  t.equal(server.received.length, 1, 'one email')
  t.equal(await probe(), undefined)
  await startDue()
  await onIdle()
  t.equal(server.received.length, 6, 'then the others')
})

t.test('a reply that the password is wrong pauses all emails and ends none', { skip }, async (t) => {
  const { sender, insert, count, clock } = await createEmails(t)
  const server = await startMailServer(t, { onAuth: (_auth, _session, done) => done(new Error('no')) })
  const { startDue, onIdle } = sender(quickDelivery(server.address({ credential: { user: 'auth', password: 'old' } })))
  await insert()
  for (let attempts = 0; attempts < 3; attempts += 1) {
    await startDue()
    await onIdle()
    await clock.advance(60_000)
  }
  t.equal(await count(`dead_at is null and failure = '535' and attempts = 0`), 1)
})

t.test('a send that takes longer than a minute is aborted', async (t) => {
  const { sender, insert, count, clock } = await createEmails(t)
  await insert()
  let isSending = false
  const { startDue, onIdle } = sender((_message, signal) => {
    isSending = true
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  })
  await startDue()
  await until('the delivery has started', () => isSending)
  await clock.advance(59_999)
  t.equal(await count('failure is null'), 1)
  await clock.advance(1)
  await onIdle()
  t.equal(await count(`failure = 'timeout' and attempts = 1`), 1)
})

t.test('an email that failed for a day is a dead letter', async (t) => {
  const { db, sender, insert, metric, count } = await createEmails(t)
  await insert({ expiresAt: new Date(Date.now() + 2 * 86_400_000) })
  await db.execute(sql`update emails set created_at = now() - interval '25 hours'`)
  const { startDue, onIdle } = sender(async () => {
    throw new MailError('deferred', { reply: 451 })
  })
  await startDue()
  await onIdle()
  t.equal(await count(`dead_at is not null and failure = '451'`), 1)
  t.equal(await metric('auth_emails_dead_total'), 1)
})

t.test('an email that expires while the server is down is a dead letter', async (t) => {
  const { db, sender, insert, metric, count } = await createEmails(t)
  await insert({ purpose: 'reset' })
  const { startDue, onIdle, housekeep } = sender(async () => {
    throw new MailError('unreachable', { affectsAll: true })
  })
  await startDue()
  await onIdle()
  await db.execute(sql`update emails set expires_at = now(), claimed_until = null`)
  await housekeep()
  t.equal(await count(`dead_at is not null and failure = 'unreachable'`), 1)
  t.equal(await metric('auth_emails_dead_total'), 1)
  t.equal(await metric('auth_emails_pending'), 0)
})

t.test('logs one line a minute for each kind of failure, without an address', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
  const { sender, insert, clock } = await createEmails(t, log)
  const { startDue, onIdle } = sender(async () => {
    throw new MailError('deferred', { reply: 451 })
  })
  for (let each = 0; each < 5; each += 1) await insert()
  await startDue()
  await onIdle()
  await clock.advance(60_000)
  await insert()
  await startDue()
  await onIdle()
  t.match(
    lines.map((line) => JSON.parse(line)),
    [
      { event: 'email_delayed', level: 'warn', dependency: 'mail', reason: 'verify: 451, attempt 1', count: 1 },
      { event: 'email_delayed', count: 5 }
    ]
  )
  t.equal(lines.length, 2)
  t.notMatch(lines.join(''), /example\.org/)
})
