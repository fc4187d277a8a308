/** The accounts, sessions and emailed tokens that probes use; created before a fault. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { MailServer } from '../support/mail-server.ts'
import type { Account, Ledger, Session } from './ledger.ts'
import { type EmailedToken, requestReset } from './lifecycle-requests.ts'
import { logIn, logOut, register } from './requests.ts'

const attempts = 10
const retryMs = 300

/** What one round of probes uses. A probe that changes an account has an account of its own. */
export interface Fixtures {
  account: Account
  session: Session
  toLogOut: Session
  ended: Session
  toEndById: Session
  toDelete: Session
  toChangePassword: Session
  toReset: EmailedToken
  toVerify: EmailedToken
  toChangeAddress: Session
  toEndOthers: Session
}

/** Creates the accounts, with their sessions and tokens. @throws Error if a request fails */
export async function createFixtures(ledger: Ledger, mail: MailServer): Promise<Fixtures> {
  const registered = await Promise.all(Array.from({ length: 7 }, () => served(() => register(ledger))))
  const [account, other, changing, resetting, verifying, moving, revoking] = registered.map((each) => each.account)
  if (!account || !other || !changing || !resetting || !verifying || !moving || !revoking)
    throw new Error('unreachable')
  const [{ session: toLogOut }, { session: ended }, { session: toEndById }, , requested] = await Promise.all([
    served(() => logIn(ledger, account)),
    served(() => logIn(ledger, account)),
    served(() => logIn(ledger, account)),
    served(() => logIn(ledger, revoking)),
    served(() => requestReset(ledger, resetting))
  ])
  // An email for an address without an account is never sent.
  for (const each of [resetting, verifying]) firstSession(each)
  if (ended) await served(() => logOut(ledger, ended))
  if (!toLogOut || !toEndById || ended?.state !== 'ended' || requested.status !== 202) throw productFailure(ledger)
  const toReset = { token: await mail.tokenTo(resetting.email, 'reset'), account: resetting, state: 'valid' as const }
  const toVerify = { token: await mail.tokenTo(verifying.email, 'verify'), account: verifying, state: 'valid' as const }
  return {
    ...{ account, session: firstSession(account), toLogOut, ended, toEndById },
    ...{ toDelete: firstSession(other), toChangePassword: firstSession(changing), toReset, toVerify },
    ...{ toChangeAddress: firstSession(moving), toEndOthers: firstSession(revoking) }
  }

  function firstSession({ sessions: [session] }: Account): Session {
    if (session === undefined) throw productFailure(ledger)
    return session
  }
}

/** Repeats a request that a busy machine sheds: 503 means that it was not applied. */
async function served<T extends { status: number }>(send: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    const response = await send()
    if (response.status !== 503 || attempt === attempts) return response
    await sleep(retryMs)
  }
}

function productFailure({ journal }: Ledger): Error {
  const failed = journal.filter(({ status }) => status === 0 || status >= 500).slice(-3)
  return new Error(`the product does not work: ${JSON.stringify(failed)}`)
}
