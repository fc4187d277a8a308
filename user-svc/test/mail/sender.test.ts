/** The sender on the real PostgreSQL and a real mail server: each email once, by any number of senders. */

import { sql } from 'drizzle-orm'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { parseEmail } from '#common/mail/parse-email.ts'
import { until } from '#common/testing/until.ts'
import { emailToken, isTokenOf } from '../../mail/email-token.ts'
import { startSender } from '../../mail/mail-sender.ts'
import type { Deliver } from '../../mail/message.ts'
import { createSmtpDelivery } from '../../mail/smtp.ts'
import { emails } from '../../schema.ts'
import { createEmails, keys, quickDelivery, sendAll } from './emails.ts'
import { sender as from, noOpenssl, startMailServer } from './mail-server.ts'

const skip = noOpenssl

t.test('sends each email with the token of its row, and records it', { skip }, async (t) => {
  const { db, sender, insert, count, metric } = await createEmails(t)
  const server = await startMailServer(t)
  const [verify, reset] = [await insert(), await insert({ purpose: 'reset' })]
  await insert({ purpose: 'change-notice' })
  const { startDue, onIdle, housekeep, probe } = sender(quickDelivery(server.address()))
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

t.test('three senders send each email once', { skip }, async (t) => {
  const { sender, insert, count } = await createEmails(t)
  const server = await startMailServer(t)
  for (let each = 0; each < 60; each += 1) await insert()
  await Promise.all([1, 2, 3].map(() => sendAll(sender(quickDelivery(server.address())))))
  t.equal(await count('sent_at is not null'), 60)
  t.equal(server.received.length, 60)
  t.equal(new Set(server.received.map(({ to }) => to[0])).size, 60)
})

t.test('an email of a sender that died is sent by another when the lease has ended', { skip }, async (t) => {
  const { db, sender, rows, insert, count } = await createEmails(t)
  const server = await startMailServer(t)
  await insert()
  await rows.claim(5)
  const { startDue, onIdle } = sender(quickDelivery(server.address()))
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
