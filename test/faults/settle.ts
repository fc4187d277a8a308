/** The invariants at the end, when everything is healed: of every account and session that there ever was. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Laboratory } from './laboratory.ts'
import type { Ledger, Session } from './ledger.ts'

const outboxWithinMs = 30_000
const atOnce = 8

/** @returns what does not hold; what the ledger finds by itself is in `ledger.broken` */
export async function settle(laboratory: Laboratory, ledger: Ledger): Promise<string[]> {
  const { database } = laboratory
  const complaints: string[] = []
  if (!(await deletionsComplete(laboratory))) complaints.push('a deletion does not come to its end')

  const rows = await database<{ email: string }[]>`select email from users`
  const emails = new Set(rows.map(({ email }) => email))
  if (emails.size !== rows.length) complaints.push('an address exists twice')
  for (const account of ledger.accounts) {
    const { email, state } = account
    if (state === 'exists' && !emails.has(email)) complaints.push('an account whose 201 was delivered is not there')
    if ((state === 'never' || state === 'gone') && emails.has(email))
      complaints.push(`an account is there that is ${state}`)
    // What was answered by 504 is certain by now.
    if ((account.state === 'unknown' || account.state === 'leaving') && !emails.has(email)) account.state = 'gone'
    emails.delete(email)
  }
  if (emails.size > 0) complaints.push(`${emails.size} accounts are there that nobody registered`)

  const left = [...ledger.accounts]
  async function check(): Promise<void> {
    for (let account = left.pop(); account; account = left.pop()) {
      const status = await statusOf('POST /auth', () => ledger.logIn(account))
      if (status === 200 && account.state === 'exists') await ledger.logIn(account, 'not the password of anyone')
      const sessions = [...account.sessions]
      for (const session of sessions) await checkSession(session)
    }
  }

  async function checkSession(session: Session): Promise<void> {
    // Of an account that is gone no session may be left, whatever its deletion was answered.
    if (session.account.state === 'gone') session.state = 'ended'
    await statusOf('GET /session', () => ledger.validate(session))
  }

  async function statusOf(route: string, request: () => Promise<{ status: number }>): Promise<number> {
    const startedAt = performance.now()
    const { status } = await request()
    const tookMs = Math.round(performance.now() - startedAt)
    if (status >= 500) complaints.push(`${route} is answered ${status} after ${tookMs} ms though all is healed`)
    return status
  }

  await Promise.all(Array.from({ length: atOnce }, check))
  return complaints
}

/** The relay finishes what the deletions of accounts have begun. */
export async function deletionsComplete({ database }: Laboratory): Promise<boolean> {
  const endsAt = Date.now() + outboxWithinMs
  for (;;) {
    const [row] = await database<
      { pending: number }[]
    >`select count(*)::int as pending from outbox where done_at is null`
    if (row?.pending === 0) return true
    if (Date.now() > endsAt) return false
    await sleep(200)
  }
}
