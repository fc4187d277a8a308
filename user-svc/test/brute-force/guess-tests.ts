/** Shared by the tests of guesses: a service on the real PostgreSQL, and a gate on its rows. */

import type { ConnectError } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { silentLog } from '#common/testing/service.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { createGuessGate } from '../../brute-force/guess-gate.ts'
import { createGuessRows } from '../../brute-force/guess-rows.ts'
import { guessMetrics } from '../../metrics.ts'
import { newAddress, password, reasonOf, startAccountTests } from '../accounts/account-tests.ts'

export const wrong = 'wrong password 1'

/** @returns false. @throws on any other error than that of a wrong password */
export function requireRejection(error: ConnectError): boolean {
  const reason = reasonOf(error)
  if (!['CREDENTIALS_REJECTED', 'WRONG_PASSWORD'].includes(reason)) throw error
  return false
}

/** A service whose rows of guesses are empty at the start of each test. */
export async function startGuessTests(t: Pick<Test, 'teardown' | 'beforeEach'>) {
  const service = await startAccountTests(t)
  const { client, sql } = service
  t.beforeEach(async () => void (await sql`delete from guess_counts`))

  /** Whether a login succeeds. @throws on any other error than that of a wrong password */
  async function logIn(email: string, network: string, written = password, through = client): Promise<boolean> {
    const login = through.authenticateAndLogin({ email, password: written, client: { network } })
    return login.then(() => true, requireRejection)
  }

  const newGate = (clock: Clock = systemClock) =>
    createGuessGate(createGuessRows(service.db), guessMetrics(new Registry()), clock)

  return {
    service,
    logIn,
    newGate,

    async newAccount() {
      const email = newAddress()
      const { user } = await client.registerAndLogin({ email, password })
      return { email, userId: user?.id as string }
    },

    async guess(email: string, network: string, times: number): Promise<void> {
      for (let count = 0; count < times; count += 1) await logIn(email, network, wrong)
    },

    /** The guesses that were compared since the last correct one. */
    async counted(): Promise<number> {
      const [row] = await sql`select coalesce(sum(cardinality(guesses)), 0)::int as n from guess_counts`
      return row?.n as number
    },

    /** Reserves a guess without a check of its password. */
    reserve(email: string, network: string, clock: Clock = systemClock, { signal } = new AbortController()) {
      const call = { signal, caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log: silentLog }
      return newGate(clock).reserve({ email, user: undefined, userId: undefined, network, device: undefined }, call)
    },

    /** All times in the past by an hour more. */
    letAnHourPass: () => sql`update guess_counts set paced_until = paced_until - interval '1 hour'`
  }
}
