/** Emails in a test database, with a sender, for the tests of both. */

import { Registry } from '@prometheus-io/client'
import { sql } from 'drizzle-orm'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { createTestDatabase, silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { connectDatabase } from '../../database.ts'
import type { EmailPurpose } from '../../mail/email-purposes.ts'
import { createEmailRows } from '../../mail/email-rows.ts'
import { createComposer, type Deliver } from '../../mail/message.ts'
import { createSender, type SenderParts } from '../../mail/sender.ts'
import { createSmtpDelivery } from '../../mail/smtp.ts'
import { loadTemplates } from '../../mail/templates.ts'
import { emailMetrics } from '../../metrics.ts'
import { migrateDatabase } from '../../migrations.ts'
import { emails, users } from '../../schema.ts'
import { type addressOf, sender as from } from './mail-server.ts'

export const keys = [`b:${Buffer.alloc(32, 2).toString('base64')}`, `a:${Buffer.alloc(32, 1).toString('base64')}`]

export const composeOptions = {
  from: { name: 'Example & Söhne', address: 'auth@example.org' },
  links: { verify: 'https://app.example.org/#verify={token}', reset: 'https://app.example.org/?a=1&b=2#reset={token}' },
  keys
}

type EmailRow = typeof emails.$inferInsert

/** A delivery that gives up after 1.5 s. */
export const quickDelivery = (server: ReturnType<typeof addressOf>): Deliver =>
  createSmtpDelivery(server, from, { setupMs: 1500, replyMs: 1500 })

/** Sends all emails that are due, once. */
export async function sendAll(sender: { startDue(): Promise<boolean>; onIdle(): Promise<void> }): Promise<void> {
  while (await sender.startDue()) await sender.onIdle()
  await sender.onIdle()
}

export async function createEmails(t: Pick<Test, 'teardown'>, log = silentLog) {
  const url = await createTestDatabase(t)
  await migrateDatabase({ url })
  const { db, close } = connectDatabase({ url, maxConnections: 8, queryTimeout: 3000 })
  t.teardown(close)
  const clock = createTestClock()
  const registry = new Registry()
  const metrics = emailMetrics(registry)
  const compose = createComposer(composeOptions, loadTemplates(''))
  let accounts = 0

  async function insertUser(address?: string): Promise<{ id: string; email: string }> {
    accounts += 1
    const user = { id: uuidv7(), email: address ?? `user${accounts}@example.org` }
    await db.insert(users).values({ ...user, passwordHash: 'x', sessionEpoch: 3n })
    return user
  }

  return {
    db,
    clock,
    rows: createEmailRows(db),
    compose,
    insertUser,

    /** Inserts an email as a request does, with an account of its own unless the row names one. @returns the id */
    async insert(row: Partial<EmailRow> & { purpose?: EmailPurpose } = {}): Promise<string> {
      const user = row.userId === undefined ? await insertUser(row.recipient ?? undefined) : undefined
      const id = uuidv7()
      const expiresAt = new Date(Date.now() + 86_400_000)
      const values = { id, userId: user?.id ?? null, purpose: 'verify', recipient: user?.email ?? null, expiresAt }
      await db.insert(emails).values({ ...values, sessionEpoch: 3n, ...row })
      return id
    },

    /** A sender, without the loop. */
    sender: (deliver: Deliver, parts: Partial<SenderParts> = {}) =>
      createSender({ rows: createEmailRows(db), compose, deliver, metrics, log, clock, ...parts }),

    senderParts: (deliver: Deliver): SenderParts => ({
      rows: createEmailRows(db),
      compose,
      deliver,
      metrics,
      log,
      clock
    }),

    /** Ends the leases and the waits of all emails. */
    makeDue: async () => void (await db.execute(sql`update emails set claimed_until = null where sent_at is null`)),

    async count(condition: string): Promise<number> {
      const { rows } = await db.execute(sql`select count(*)::int as n from emails where ${sql.raw(condition)}`)
      return rows[0]?.n as number
    },

    /** The value of a series, such as `auth_emails_sent_total{purpose="reset"}`. */
    async metric(series: string): Promise<number> {
      const text = await registry.metrics()
      const line = text.split('\n').find((each) => each.startsWith(`${series} `))
      return Number(line?.slice(series.length + 1))
    }
  }
}
