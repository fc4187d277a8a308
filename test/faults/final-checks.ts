/** The final checks, without any fault: every account and session of the ledger is in the state that its responses promised. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Ledger, Session } from './ledger.ts'
import { logIn, validate, wrongPassword } from './requests.ts'
import type { Testbed } from './testbed.ts'

const outboxTimeoutMs = 30_000
const concurrency = 8

/** @returns the violations that are not in `ledger.broken` */
export async function finalChecks(testbed: Testbed, ledger: Ledger): Promise<string[]> {
  const { database } = testbed
  const violations: string[] = []
  if (!(await deletionsComplete(testbed))) violations.push('the outbox has pending deletions')

  const rows = await database<{ email: string }[]>`select email from users`
  const emails = new Set(rows.map(({ email }) => email))
  if (emails.size !== rows.length) violations.push('two accounts have the same address')
  for (const account of ledger.accounts) {
    const { email, state } = account
    if (state === 'exists' && !emails.has(email))
      violations.push('an account whose registration was answered 201 does not exist')
    if ((state === 'never' || state === 'gone') && emails.has(email))
      violations.push(`an account of state ${state} exists`)
    // The outcome of a 504 is certain now.
    if ((account.state === 'unknown' || account.state === 'leaving') && !emails.has(email)) account.state = 'gone'
    emails.delete(email)
  }
  if (emails.size > 0) violations.push(`${emails.size} accounts exist without a registration`)

  const unchecked = [...ledger.accounts]
  async function check(): Promise<void> {
    for (let account = unchecked.pop(); account; account = unchecked.pop()) {
      const status = await statusOf('POST /auth', () => logIn(ledger, account))
      if (status === 200 && account.state === 'exists') await logIn(ledger, account, wrongPassword)
      const sessions = [...account.sessions]
      for (const session of sessions) await checkSession(session)
    }
  }

  async function checkSession(session: Session): Promise<void> {
    // A deleted account has no session, with any status of its deletion.
    if (session.account.state === 'gone') session.state = 'ended'
    await statusOf('GET /session', () => validate(ledger, session))
  }

  async function statusOf(route: string, request: () => Promise<{ status: number }>): Promise<number> {
    const startedAt = performance.now()
    const { status } = await request()
    const tookMs = Math.round(performance.now() - startedAt)
    if (status >= 500) violations.push(`${route} was answered ${status} after ${tookMs} ms, without any fault`)
    return status
  }

  await Promise.all(Array.from({ length: concurrency }, check))
  return violations
}

/** Waits until the outbox relay has processed all deletions. @returns false after the timeout */
export async function deletionsComplete({ database }: Testbed): Promise<boolean> {
  const endsAt = Date.now() + outboxTimeoutMs
  for (;;) {
    const [row] = await database<
      { pending: number }[]
    >`select count(*)::int as pending from outbox where done_at is null`
    if (row?.pending === 0) return true
    if (Date.now() > endsAt) return false
    await sleep(200)
  }
}
