/** Compares the emails that the mail server has accepted with those that became due: none may be lost. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Testbed } from './testbed.ts'

const deliveryTimeoutMs = 60_000
// A sender that was killed keeps its lease for 75 s, and an email that failed several times waits for up to five minutes. After
// this time, the test ends these waits.
const leasesEndAfterMs = 5000

export interface MailFigures {
  /** Emails that were due. */
  due: number
  sent: number
  /** Emails that the server has accepted more than once. */
  duplicated: number
  /** Emails that the server never accepted, although they are recorded as sent or nothing sends them any more. */
  lost: number
}

/** Waits until no email waits for delivery, and counts. @returns the waiting rows instead if emails still wait after the timeout */
export async function mailFigures({ database, mail }: Testbed): Promise<MailFigures | { waiting: string }> {
  const startedAt = Date.now()
  let areLeasesOver = false
  const isWaiting = database`user_id is not null and sent_at is null and dead_at is null`
  for (;;) {
    const [row] = await database<{ waiting: number }[]>`select count(*)::int as waiting from emails where ${isWaiting}`
    if (row?.waiting === 0) break
    const waitedMs = Date.now() - startedAt
    if (!areLeasesOver && waitedMs > leasesEndAfterMs) {
      areLeasesOver = true
      await database`update emails set claimed_until = now() where ${isWaiting} and claimed_until > now()`
    }
    if (waitedMs > deliveryTimeoutMs) {
      const rows = await database`
        select purpose, attempts, failure, now() - created_at as age, claimed_until - now() as waits from emails where ${isWaiting}`
      return { waiting: JSON.stringify(rows) }
    }
    await sleep(200)
  }
  const due = await database<{ recipient: string; purpose: string }[]>`
    select recipient, purpose from emails where user_id is not null and (sent_at is not null or dead_at is not null)`
  const counts = new Map<string, number>()
  for (const { to } of mail.accepted()) for (const address of to) counts.set(address, (counts.get(address) ?? 0) + 1)
  const dueTo = Map.groupBy(due, ({ recipient }) => recipient)
  let lost = 0
  let duplicated = 0
  for (const [recipient, rows] of dueTo) {
    const accepted = counts.get(recipient) ?? 0
    lost += Math.max(0, rows.length - accepted)
    duplicated += Math.max(0, accepted - rows.length)
  }
  return { due: due.length, sent: due.length - lost, duplicated, lost }
}
