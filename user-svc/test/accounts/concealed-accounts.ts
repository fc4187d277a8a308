/** Shared by the tests with `userSvc.registration.concealTaken`: a service that conceals taken addresses, and its accounts. */

import type { Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import type { Clock } from '#common/time/clock.ts'
import { newAddress, password, startAccountTests } from './account-tests.ts'

export async function startConcealedTests(t: Pick<Test, 'teardown' | 'beforeEach'>, sessionClock?: Clock) {
  const lines: string[] = []
  const log = createLogger('user-svc', 'info', { write: (line) => void lines.push(line) })
  const service = await startAccountTests(t, { concealTaken: true, log, sessionClock })
  const { client, sql } = service
  const register = (email: string, written = password) => client.registerAndLogin({ email, password: written })
  const logIn = (email: string, written = password) => client.authenticateAndLogin({ email, password: written })
  const rowOf = async (email: string) => (await sql`select * from users where email = ${email}`)[0]

  async function newAccount(
    columns: { email_verified_at?: Date; disabled_at?: Date } = { email_verified_at: new Date() }
  ) {
    const email = newAddress()
    await register(email)
    const userId = (await rowOf(email))?.id as string
    if (Object.keys(columns).length > 0) await sql`update users set ${sql(columns)} where id = ${userId}`
    return { email, userId }
  }

  /** @returns the address of a deleted account, which has reached its limit of emails that verify it */
  async function deletedAccount() {
    const { email, userId } = await newAccount({})
    await sql`delete from users where id = ${userId}`
    return email
  }

  return { service, lines, register, logIn, rowOf, newAccount, deletedAccount }
}
