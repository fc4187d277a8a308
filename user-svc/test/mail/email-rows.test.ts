/** The SQL of the emails: leases, emails that are not sent, dead letters, deletion. */

import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import t from 'tap'
import type { EmailPurpose } from '../../mail/email-purposes.ts'
import { emailLimits } from '../../schema.ts'
import { createEmails } from './emails.ts'

t.test('leases an email once, and again when the lease has ended', async (t) => {
  const { db, rows, insert } = await createEmails(t)
  const id = await insert()
  t.match(await rows.claim(5), [{ id, purpose: 'verify', sessionEpoch: 3n }])
  t.same(await rows.claim(5), [])
  await db.execute(sql`update emails set claimed_until = now() - interval '1 millisecond'`)
  t.match(await rows.claim(5), [{ id }])
})

t.test('concurrent claims share the emails', async (t) => {
  const { rows, insert } = await createEmails(t)
  for (let each = 0; each < 40; each += 1) await insert()
  const claims = await Promise.all(Array.from({ length: 16 }, () => rows.claim(5)))
  const ids = claims.flat().map(({ id }) => id)
  t.equal(new Set(ids).size, ids.length)
  while (true) {
    const more = await rows.claim(5)
    if (more.length === 0) break
    ids.push(...more.map(({ id }) => id))
  }
  t.equal(new Set(ids).size, 40)
  t.equal(ids.length, 40)
})

t.test('new emails come before those that failed', async (t) => {
  const { rows, insert } = await createEmails(t)
  await insert()
  const [failed] = await rows.claim(1)
  if (failed === undefined) throw new Error('no email')
  await rows.release(failed, 'timeout')
  const id = await insert()
  await rows.release(failed, 'timeout')
  t.match(await rows.claim(1), [{ id }])
})

t.test('a sender that lost its lease records nothing', async (t) => {
  const { db, rows, insert, count } = await createEmails(t)
  await insert()
  const [lost] = await rows.claim(1)
  await db.execute(sql`update emails set claimed_until = now() - interval '1 millisecond'`)
  const [held] = await rows.claim(1)
  if (lost === undefined || held === undefined) throw new Error('no email')
  t.notOk(await rows.markSent(lost))
  t.notOk(await rows.markDead(lost, '550'))
  t.notOk(await rows.backOff(lost, '451'))
  t.notOk(await rows.release(lost, 'timeout'))
  t.equal(await count('sent_at is null and dead_at is null and attempts = 0 and failure is null'), 1)
  t.ok(await rows.markSent(held))
  t.notOk(await rows.markSent(held), 'an email is sent once')
  t.notOk(await rows.markDead(held, '550'))
  t.equal(await count('sent_at is not null and dead_at is null'), 1)
})

t.test('backs off with each failure, up to five minutes', async (t) => {
  const { db, rows, insert, count, makeDue } = await createEmails(t)
  await insert()
  for (const seconds of [1, 2, 4]) {
    const [row] = await rows.claim(1)
    if (row === undefined) throw new Error('no email')
    t.notOk(await rows.backOff(row, '451'))
    const between = `claimed_until > now() + interval '${seconds - 0.5} s' and claimed_until < now() + interval '${seconds + 0.5} s'`
    t.equal(await count(`failure = '451' and ${between}`), 1, `${seconds} s`)
    await makeDue()
  }
  await db.execute(sql`update emails set attempts = 2000000000`)
  const [row] = await rows.claim(1)
  if (row === undefined) throw new Error('no email')
  await rows.backOff(row, '451')
  t.equal(await count(`claimed_until between now() + interval '299 s' and now() + interval '300 s'`), 1)
})

t.test('gives up an email after failures of a day', async (t) => {
  const { db, rows, insert, count } = await createEmails(t)
  for (const record of ['backOff', 'release'] as const) {
    await insert({ expiresAt: new Date(Date.now() + 10 * 86_400_000) })
    await db.execute(sql`update emails set created_at = now() - interval '24 hours 1 second'`)
    const [row] = await rows.claim(1)
    if (row === undefined) throw new Error('no email')
    t.ok(await rows[record](row, '451'), record)
    t.equal(await count(`dead_at is not null and failure = '451'`), 1)
    t.same(await rows.claim(1), [])
    await db.execute(sql`delete from emails`)
  }
})

t.test('drops emails that became invalid, without sending them', async (t) => {
  const { db, rows, insert, insertUser, count } = await createEmails(t)
  const changes = {
    'the epoch was raised': sql`update users set session_epoch = session_epoch + 1`,
    'the account is disabled': sql`update users set disabled_at = now()`,
    'the token was used': sql`update emails set used_at = now()`,
    'the account is gone': sql`delete from users`
  }
  for (const [what, change] of Object.entries(changes)) {
    for (const purpose of ['verify', 'reset', 'change'] as const) await insert({ purpose })
    await db.execute(change)
    t.same(await rows.claim(9), [], what)
    await rows.dropObsolete()
    t.equal(await count('true'), 0, what)
    await db.execute(sql`delete from users`)
  }
  await insert({ userId: null, purpose: 'reset' })
  t.same(await rows.claim(9), [], 'a decoy')
  await rows.dropObsolete()
  t.equal(await count('true'), 0, 'a decoy')
  const { id: userId } = await insertUser()
  for (const purpose of ['verify', 'reset', 'registration-notice'] as const)
    await insert({ userId, recipient: 'old@example.org', purpose })
  t.same(await rows.claim(9), [], 'the address has changed')
  await rows.dropObsolete()
  t.equal(await count('true'), 0, 'the address has changed')
})

t.test('sends the email to a new address, and the notice to an old one whatever happened since', async (t) => {
  const { db, rows, insert, insertUser } = await createEmails(t)
  const { id: userId } = await insertUser()
  await insert({ userId, recipient: 'new@example.org', purpose: 'change' })
  await rows.dropObsolete()
  t.match(await rows.claim(9), [{ recipient: 'new@example.org' }])
  await insert({ userId, recipient: 'old@example.org', purpose: 'change-notice' })
  await db.execute(sql`update users set session_epoch = 9, disabled_at = now()`)
  await rows.dropObsolete()
  t.match(await rows.claim(9), [{ recipient: 'old@example.org' }])
})

t.test(
  'sends the notice of a registration after a change of the password, but not to a disabled account',
  async (t) => {
    const { db, rows, insert, insertUser } = await createEmails(t)
    const { id: userId, email: recipient } = await insertUser()
    const id = await insert({ userId, recipient, purpose: 'registration-notice' })
    await db.execute(sql`update users set session_epoch = 9`)
    await rows.dropObsolete()
    t.match(await rows.claim(9), [{ id }])
    await insert({ userId, recipient, purpose: 'registration-notice' })
    await db.execute(sql`update users set disabled_at = now()`)
    t.same(await rows.claim(9), [])
  }
)

t.test('leaves emails in flight, and those of purposes that a newer version sends', async (t) => {
  const { db, rows, insert, count } = await createEmails(t)
  await insert()
  await rows.claim(1)
  await insert({ purpose: 'welcome' as EmailPurpose })
  t.same(await rows.claim(9), [])
  await db.execute(
    sql`update users set session_epoch = 9 where id = (select user_id from emails where purpose = 'verify')`
  )
  await rows.dropObsolete()
  t.equal(await count('true'), 2)
})

t.test('gives up expired emails, each with its last failure', async (t) => {
  const { rows, insert, count } = await createEmails(t)
  const past = new Date(Date.now() - 1000)
  await insert({ expiresAt: past, purpose: 'reset' })
  await insert({ expiresAt: past, failure: '451' })
  t.same(await rows.claim(9), [])
  const expired = await rows.expire()
  t.match(
    expired.toSorted((a, b) => `${a.failure}`.localeCompare(`${b.failure}`)),
    [
      { failure: '451', purpose: 'verify' },
      { failure: 'expired', purpose: 'reset' }
    ]
  )
  t.equal(await count('dead_at is not null'), 2)
  t.same(await rows.expire(), [])
})

t.test('counts the emails that wait, without decoys and dead letters', async (t) => {
  const { db, rows, insert } = await createEmails(t)
  t.same(await rows.count(), { pending: 0, oldestSeconds: 0 })
  await insert({ userId: null })
  await insert({ deadAt: new Date() })
  await insert({ sentAt: new Date() })
  await insert()
  await insert()
  await db.execute(
    sql`update emails set created_at = now() - interval '90 seconds' where id = (select id from emails where sent_at is null and dead_at is null and user_id is not null limit 1)`
  )
  const { pending, oldestSeconds } = await rows.count()
  t.equal(pending, 2)
  t.ok(oldestSeconds >= 90 && oldestSeconds < 120, `${oldestSeconds} s`)
})

t.test('deletes expired rows, dead letters a week later, and limits after a day', async (t) => {
  const { db, rows, insert, count } = await createEmails(t)
  const days = (number: number) => new Date(Date.now() + number * 86_400_000)
  await insert({ expiresAt: days(-0.1), sentAt: days(-1) })
  await insert({ expiresAt: days(-8), deadAt: days(-8) })
  const kept = [
    await insert({ expiresAt: days(0.1), sentAt: days(-1) }),
    await insert({ expiresAt: days(-6), deadAt: days(-6) }),
    await insert()
  ]
  const limit = (ages: number[]) => ({ key: randomUUID(), sentAt: ages.map((age) => days(-age)) })
  await db.insert(emailLimits).values([limit([1.1, 1.2]), limit([0.9, 3])])
  await rows.deleteExpired()
  t.equal(await count('true'), kept.length)
  const { rows: limits } = await db.execute(sql`select * from email_limits`)
  t.equal(limits.length, 1)
})
