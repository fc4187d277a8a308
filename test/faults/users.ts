/** The load of random faults: virtual users that register, log in, validate, log out and delete their accounts. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Account, Ledger } from './ledger.ts'
import { deleteAccount, logIn, logOut, register, validate, wrongPassword } from './requests.ts'

const thinkMs = 40
const roundsPerAccount = 3

/** Starts virtual users. @returns a function that stops them after their current request */
export function startUsers(ledger: Ledger, count: number): () => Promise<void> {
  let stopped = false
  const think = () => sleep(Math.random() * 2 * thinkMs)

  async function visit(account: Account): Promise<void> {
    const { session } = await logIn(ledger, account)
    await think()
    if (session === undefined) return
    await validate(ledger, session)
    await think()
    await validate(ledger, session)
    if (Math.random() < 0.2) await logIn(ledger, account, wrongPassword)
    if (Math.random() < 0.7) {
      await logOut(ledger, session)
      await validate(ledger, session)
    }
  }

  /** Deletes the account, and checks that its sessions ended, or that it still exists. */
  async function leave(account: Account): Promise<void> {
    const session = account.sessions.findLast(({ state }) => state === 'valid')
    if (session === undefined) return
    await deleteAccount(ledger, session)
    for (const each of account.sessions.slice(-2)) await validate(ledger, each)
    await logIn(ledger, account)
    // The address of a deleted account is free.
    if (account.state === 'gone' && Math.random() < 0.3) await register(ledger, account)
  }

  async function user(): Promise<void> {
    while (!stopped) {
      const { account } = await register(ledger)
      await think()
      // Half of the users retry a registration with an unknown outcome.
      if (account.state !== 'exists' && Math.random() < 0.5) await register(ledger, account)
      for (let round = 0; round < roundsPerAccount && !stopped; round += 1) await visit(account)
      if (Math.random() < 0.6) await leave(account)
      await think()
    }
  }

  const users = Array.from({ length: count }, user)
  return async () => {
    stopped = true
    await Promise.all(users)
  }
}
