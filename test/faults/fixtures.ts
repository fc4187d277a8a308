/** The accounts and sessions that probes use; created before a fault. */

import type { Account, Ledger, Session } from './ledger.ts'
import { logIn, logOut, register } from './requests.ts'

/** The accounts and sessions that one round of probes uses. */
export interface Fixtures {
  account: Account
  session: Session
  toLogOut: Session
  ended: Session
  toDelete: Session
}

/** Creates an account with sessions, and another to delete. @throws Error if a request fails */
export async function createFixtures(ledger: Ledger): Promise<Fixtures> {
  const [{ account }, { account: other }] = await Promise.all([register(ledger), register(ledger)])
  const [{ session: toLogOut }, { session: ended }] = await Promise.all([
    logIn(ledger, account),
    logIn(ledger, account)
  ])
  if (ended) await logOut(ledger, ended)
  const [session, toDelete] = [account.sessions[0], other.sessions[0]]
  if (!session || !toLogOut || !toDelete || ended?.state !== 'ended') throw new Error('the product does not work')
  return { account, session, toLogOut, ended, toDelete }
}
