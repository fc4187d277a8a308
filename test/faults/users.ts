/** Virtual users: each registers, logs in, looks, logs out, looks again, leaves or stays, and begins anew. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Account, Ledger } from './ledger.ts'

const thinkMs = 40
const roundsPerAccount = 3

/** Starts so many of them; the function that it returns lets them finish what they are about. */
export function startUsers(ledger: Ledger, count: number): () => Promise<void> {
  let over = false
  const { register, logIn, validate, logOut, remove } = ledger
  const think = () => sleep(Math.random() * 2 * thinkMs)

  async function visit(account: Account): Promise<void> {
    const { session } = await logIn(account)
    await think()
    if (session === undefined) return
    await validate(session)
    await think()
    await validate(session)
    if (Math.random() < 0.2) await logIn(account, 'not the password of anyone')
    if (Math.random() < 0.7) {
      await logOut(session)
      await validate(session)
    }
  }

  /** What was ended must stay ended, and what was not done must still be there. */
  async function leave(account: Account): Promise<void> {
    const session = account.sessions.findLast(({ state }) => state === 'valid')
    if (session === undefined) return
    await remove(session)
    for (const each of account.sessions.slice(-2)) await validate(each)
    await logIn(account)
    // The address is free again.
    if (account.state === 'gone' && Math.random() < 0.3) await register(account)
  }

  async function user(): Promise<void> {
    while (!over) {
      const { account } = await register()
      await think()
      // Whoever got no certain answer tries again.
      if (account.state !== 'exists' && Math.random() < 0.5) await register(account)
      for (let round = 0; round < roundsPerAccount && !over; round += 1) await visit(account)
      if (Math.random() < 0.6) await leave(account)
      await think()
    }
  }

  const users = Array.from({ length: count }, user)
  return async () => {
    over = true
    await Promise.all(users)
  }
}
