/** The sender on the real PostgreSQL and a real mail server: each email once, whatever fails. */

import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { parseEmail } from '#common/mail/parse-email.ts'
import { until } from '#common/testing/until.ts'
import { emailToken, isTokenOf } from '../../mail/email-token.ts'
import { MailError } from '../../mail/mail-error.ts'
import { startSender } from '../../mail/mail-sender.ts'
import type { Deliver } from '../../mail/message.ts'
import { createSmtpDelivery } from '../../mail/smtp.ts'
import { emails } from '../../schema.ts'
import { createEmails, keys } from './emails.ts'
import { addressOf, closedPort, sender as from, noOpenssl, startFrozenServer, startMailServer } from './mail-server.ts'

const skip = noOpenssl
const timeouts = { setupMs: 1500, replyMs: 1500 }
const smtp = (server: ReturnType<typeof addressOf>): Deliver => createSmtpDelivery(server, from, timeouts)
const reply = (responseCode: number) => Object.assign(new Error('no'), { responseCode })

/** Sends all emails that are due, once. */
async function sendAll(sender: { startDue(): Promise<boolean>; onIdle(): Promise<void> }): Promise<void> {
  while (await sender.startDue()) await sender.onIdle()
  await sender.onIdle()
}

t.test('sends each email with the token of its row, and records it', { skip }, async (t) => {
  const { db, sender, insert, count, metric } = await createEmails(t)
  const server = await startMailServer(t)
  const [verify, reset] = [await insert(), await insert({ purpose: 'reset' })]
  await insert({ purpose: 'change-notice' })
  const { startDue, onIdle, housekeep, probe } = sender(smtp(server.address()))
  await housekeep()
  t.equal(await metric('auth_emails_pending'), 3)
  await startDue()
  await onIdle()
  t.equal(await count('sent_at is not null and failure is null'), 3)
  const rows = await db.select().from(emails)
  for (const id of [verify, reset]) {
    const row = rows.find((each) => each.id === id)
    if (row === undefined) throw new Error('the row is gone')
    const email = server.received.find(({ to }) => to[0] === row.recipient)
    const [link = ''] = parseEmail(Buffer.from(email?.content ?? '', 'latin1')).links
    t.ok(isTokenOf(row, link.split('=').at(-1) ?? '', keys), link)
    t.ok(link.endsWith(emailToken(row, keys)), 'the newest key signs')
  }
  t.equal(await metric('auth_emails_sent_total{purpose="reset"}'), 1)
  t.equal(await metric('auth_emails_sent_total{purpose="change-notice"}'), 1)
  await housekeep()
  t.equal(await metric('auth_emails_pending'), 0)
  t.equal(await probe(), undefined)
})

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
  const { startDue, onIdle } = sender(smtp(server.address()))
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
  await sendAll(sender(smtp(server.address())))
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
  await sendAll(sender(smtp(server.address()), { compose: composeOrThrow }))
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
    return smtp(targets[0] as (typeof targets)[0])(message, signal)
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
  const { startDue, onIdle } = sender(smtp(server.address({ credential: { user: 'auth', password: 'old' } })))
  await insert()
  for (let attempts = 0; attempts < 3; attempts += 1) {
    await startDue()
    await onIdle()
    await clock.advance(60_000)
  }
  t.equal(await count(`dead_at is null and failure = '535' and attempts = 0`), 1)
})

t.test('three senders send each email once', { skip }, async (t) => {
  const { sender, insert, count } = await createEmails(t)
  const server = await startMailServer(t)
  for (let each = 0; each < 60; each += 1) await insert()
  await Promise.all([1, 2, 3].map(() => sendAll(sender(smtp(server.address())))))
  t.equal(await count('sent_at is not null'), 60)
  t.equal(server.received.length, 60)
  t.equal(new Set(server.received.map(({ to }) => to[0])).size, 60)
})

t.test('an email of a sender that died is sent by another when the lease has ended', { skip }, async (t) => {
  const { db, sender, rows, insert, count } = await createEmails(t)
  const server = await startMailServer(t)
  await insert()
  await rows.claim(5)
  const { startDue, onIdle } = sender(smtp(server.address()))
  await startDue()
  await onIdle()
  t.equal(server.received.length, 0)
  await db.execute(sql`update emails set claimed_until = now() - interval '1 millisecond'`)
  await startDue()
  await onIdle()
  t.equal(server.received.length, 1)
  t.equal(await count('sent_at is not null'), 1)
})

t.test('a sender that was stopped between claim and send leaves the email to the next', async (t) => {
  const { sender, insert, compose, clock } = await createEmails(t)
  const sent: string[] = []
  const deliver: Deliver = async ({ recipient }) => void sent.push(recipient)
  await insert()
  const { startDue, onIdle } = sender(deliver, {
    compose: async (row) => {
      await clock.advance(6000)
      return compose(row)
    }
  })
  await startDue()
  await onIdle()
  t.same(sent, [])
})

t.test('a sender that lost its lease during the send does not overwrite the result of the other', async (t) => {
  const lines: string[] = []
  const log = createLogger('user-svc', 'warn', { write: (line) => void lines.push(line) })
  const { db, sender, rows, insert, count } = await createEmails(t, log)
  await insert()
  const { startDue, onIdle } = sender(async () => {
    await db.execute(sql`update emails set claimed_until = now() - interval '1 millisecond'`)
    const [other] = await rows.claim(1)
    if (other) await rows.markDead(other, '550')
  })
  await startDue()
  await onIdle()
  t.equal(await count(`dead_at is not null and sent_at is null and failure = '550'`), 1)
  t.match(
    lines.map((line) => JSON.parse(line)),
    [{ event: 'email_lease_lost' }]
  )
})

t.test('records a sent email when the database works again, and claims none before', async (t) => {
  const { rows, sender, insert, count, clock, makeDue } = await createEmails(t)
  const sent: string[] = []
  let failures = 0
  let isDown = true
  const markSent: typeof rows.markSent = async (row) => {
    if (!isDown) return rows.markSent(row)
    failures += 1
    throw unavailable('down')
  }
  const deliver: Deliver = async ({ recipient }) => void sent.push(recipient)
  const { startDue, onIdle } = sender(deliver, { rows: { ...rows, markSent } })
  await insert({ recipient: 'first@example.org' })
  await startDue()
  await until('the first attempt to record it has failed', () => failures === 1)
  await insert()
  await startDue()
  t.equal(sent.length, 1)
  isDown = false
  await clock.advance(500)
  await onIdle()
  t.equal(await count('sent_at is not null'), 1)
  await makeDue()
  await startDue()
  await onIdle()
  t.equal(await count('sent_at is not null'), 2)
  t.equal(sent.length, 2)
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

t.test(
  'the loop sends emails, survives an outage of the database, and releases an email at its end',
  { skip },
  async (t) => {
    const { db, senderParts, insert, count, clock } = await createEmails(t)
    let isMute = false
    const server = await startMailServer(t, {
      onRcptTo: (_address, _session, done) => {
        if (!isMute) done()
      }
    })
    const running = startSender(senderParts(createSmtpDelivery(server.address(), from)))
    t.teardown(running.close)
    const untilCount = (what: string, condition: string, number: number) =>
      until(what, async () => {
        await clock.advance(500)
        return (await count(condition)) === number
      })
    for (let each = 0; each < 12; each += 1) await insert()
    await untilCount('the emails are sent', 'sent_at is not null', 12)
    await db.execute(sql`alter table emails rename column dead_at to hidden`)
    await clock.advance(500)
    await db.execute(sql`select pg_sleep(0.2)`)
    await db.execute(sql`alter table emails rename column hidden to dead_at`)
    await insert()
    await untilCount('the next email is sent', 'sent_at is not null', 13)
    isMute = true
    await insert()
    await untilCount('an email is in flight', 'sent_at is null and claimed_until is not null', 1)
    const closing = running.close()
    await until('the sender is closed', async () => {
      await clock.advance(500)
      return (await count(`failure = 'stopped' and claimed_until < now() + interval '2 s'`)) === 1
    })
    await closing
    t.equal(server.received.length, 13)
  }
)
