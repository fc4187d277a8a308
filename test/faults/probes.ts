/** One request for each route, and the accounts and sessions that they are made with. */

import type { Account, Ledger, Session } from './ledger.ts'

/** What one round of probes uses up. */
export interface Cast {
  account: Account
  session: Session
  toEnd: Session
  ended: Session
  toDelete: Session
}

/** Makes an account with sessions, and another to delete. Everything must work. */
export async function prepareCast({ register, logIn, logOut }: Ledger): Promise<Cast> {
  const [{ account }, { account: other }] = await Promise.all([register(), register()])
  const [{ session: toEnd }, { session: ended }] = await Promise.all([logIn(account), logIn(account)])
  if (ended) await logOut(ended)
  const [session, toDelete] = [account.sessions[0], other.sessions[0]]
  if (!session || !toEnd || !toDelete || ended?.state !== 'ended') throw new Error('the product does not work')
  return { account, session, toEnd, ended, toDelete }
}

/** The routes as the table and the page name them, with what a round sends. */
export const probes = {
  'POST /reg': ({ register }: Ledger) => register(),
  'POST /auth': ({ logIn }: Ledger, { account }: Cast) => logIn(account),
  'wrong password': ({ logIn }: Ledger, { account }: Cast) => logIn(account, 'not the password of anyone'),
  'GET /session': ({ validate }: Ledger, { session }: Cast) => validate(session),
  'ended session': ({ validate }: Ledger, { ended }: Cast) => validate(ended),
  'DELETE /logout': ({ logOut }: Ledger, { toEnd }: Cast) => logOut(toEnd),
  'DELETE /delete': ({ remove }: Ledger, { toDelete }: Cast) => remove(toDelete)
}
export type ProbeName = keyof typeof probes
export const probeNames = Object.keys(probes) as ProbeName[]

/** The longest that the route of each may take. */
export const budgetsMs: Record<ProbeName, number> = {
  'POST /reg': 5000,
  'POST /auth': 5000,
  'wrong password': 5000,
  'GET /session': 1000,
  'ended session': 1000,
  'DELETE /logout': 3000,
  'DELETE /delete': 3000
}

/** What became of a request. */
export interface Outcome {
  status: number
  tookMs: number
}

/** Sends one of each at the same time. */
export async function probeAll(ledger: Ledger, cast: Cast): Promise<Record<ProbeName, Outcome>> {
  const outcomes = await Promise.all(
    probeNames.map(async (name) => {
      const startedAt = performance.now()
      const { status } = await probes[name](ledger, cast)
      return [name, { status, tookMs: performance.now() - startedAt }] as const
    })
  )
  return Object.fromEntries(outcomes) as Record<ProbeName, Outcome>
}

const giveUpMs = 30_000
const pauseMs = 20

/** For each route, the milliseconds until its first answer that is no server's error. */
export async function untilAllAnswer(ledger: Ledger, cast: Cast): Promise<Record<ProbeName, number>> {
  const startedAt = performance.now()
  const times = await Promise.all(
    probeNames.map(async (name) => {
      for (;;) {
        const { status } = await probes[name](ledger, cast)
        const sinceMs = performance.now() - startedAt
        if ((status > 0 && status < 500) || sinceMs > giveUpMs) return [name, sinceMs] as const
        await new Promise((resolve) => setTimeout(resolve, pauseMs))
      }
    })
  )
  return Object.fromEntries(times) as Record<ProbeName, number>
}
