/** The first guesses of networks at an account whose bound of all networks is reached. */

import { Code } from '@connectrpc/connect'
import postgres from 'postgres'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { systemClock } from '#common/time/clock.ts'
import type { ReservedGuess } from '../../brute-force/guess-gate.ts'
import { rejection } from '../accounts/account-tests.ts'
import { startGuessTests } from './guess-tests.ts'

const { service, newAccount, logIn, guess, counted, reserve, letAnHourPass } = await startGuessTests(t)
const { sql } = service

/**
 * Locks the row of the address by another connection.
 *
 * @returns a function that unlocks it
 */
async function lockRow(t: Pick<Test, 'teardown'>): Promise<() => Promise<void>> {
  const other = postgres(service.url, { max: 1, onnotice: () => {} })
  const locked = Promise.withResolvers<void>()
  const unlocked = Promise.withResolvers<void>()
  const done = other.begin(async (transaction) => {
    await transaction`select from guess_counts for update`
    locked.resolve()
    await unlocked.promise
  })
  await locked.promise
  async function unlock(): Promise<void> {
    unlocked.resolve()
    await done
    await other.end()
  }
  t.teardown(unlock)
  return unlock
}

const untilWaiting = (statements: number) =>
  until(`${statements} statements wait for the row`, async () => {
    const waiting = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%guess_counts%'`
    return waiting.length === statements
  })

t.test('a network has one first guess when the bound of all networks is reached, in their pace', async (t) => {
  const { email } = await newAccount()
  for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, 5)
  t.equal(await counted(), 60)
  await guess(email, '198.51.100.1', 3)
  t.equal(await counted(), 61, 'only the first one of a network')
  await guess(email, '198.51.100.2', 1)
  await guess(email, '198.51.100.3', 1)
  t.equal(await logIn(email, '198.51.100.4'), false, 'too soon')
  await letAnHourPass()
  t.equal(await logIn(email, '198.51.100.4'), false, 'also a refused guess is the first one')
  t.equal(await logIn(email, '198.51.100.5'), true, 'the owner from another network')
  t.equal(await counted(), 0)
})

t.test('an IPv6 /48 has one first guess, although it has 65,536 networks', async (t) => {
  const { email } = await newAccount()
  const ofBlock = (number: number) => `2001:db8:1:${number}::/64`
  for (let network = 0; network < 12; network += 1) await guess(email, ofBlock(network), 5)
  t.equal(await counted(), 60)
  for (let network = 12; network < 15; network += 1) {
    await letAnHourPass()
    t.equal(await logIn(email, ofBlock(network)), false, 'a network of the same /48')
  }
  await guess(email, '2001:db8:2:1::/64', 1)
  await guess(email, '2001:db8:2:2::/64', 1)
  t.equal(await counted(), 61)
  t.equal(await logIn(email, '2001:db8:3:1::/64'), true, 'the owner from another /48')
})

t.test('a guess that was not compared leaves its network and the pace as they were', async (t) => {
  const { email } = await newAccount()
  const held = await reserve(email, '198.51.100.1')
  for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, network === 0 ? 4 : 5)
  const release = async (reserved: ReservedGuess, left = 60) => {
    reserved.release()
    await until('the guess is released', async () => (await counted()) === left)
  }
  await release(held, 59)
  await guess(email, '192.0.2.0', 1)
  for (let count = 1; count <= 5; count += 1) {
    const next = await reserve(email, '198.51.100.1')
    t.equal(next.isRefused, false, `after ${count} guesses that were not compared`)
    await release(next)
  }
  t.equal(await logIn(email, '198.51.100.1'), true)
})

t.test('a client that disconnects while its guess is reserved keeps the first guess of its network', async (t) => {
  const { email } = await newAccount()
  for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, 5)
  /** @returns a function that lets the statement end */
  async function disconnectDuringStatement() {
    const unlock = await lockRow(t)
    const client = new AbortController()
    const reserving = rejection(reserve(email, '198.51.100.1', systemClock, client))
    await untilWaiting(1)
    client.abort()
    t.equal((await reserving).code, Code.Canceled)
    return unlock
  }
  // More guesses than the pace of first guesses admits at once.
  for (let count = 1; count <= 4; count += 1) {
    const unlock = await disconnectDuringStatement()
    await unlock()
    await until(`the release of guess ${count}`, async () => {
      const [row] = await sql`select cardinality(guesses) as n, paced_until < now() as is_free from guess_counts`
      return row?.n === 60 && row?.is_free
    })
  }
  const unlock = await disconnectDuringStatement()
  const retry = logIn(email, '198.51.100.1')
  await untilWaiting(2)
  await unlock()
  t.equal(await retry, true, 'a retry before the release waits for it')
})

t.test(
  'a guess that waits for results of concurrent ones, and is refused then, is the first one of its network',
  async (t) => {
    const { email } = await newAccount()
    for (let network = 0; network < 12; network += 1) await guess(email, `192.0.2.${network}`, 5)
    await sql`update guess_counts set guesses[60] = guesses[60] || '@' || extract(epoch from now())::bigint`
    // The pace admits no first guess until the wrong password is recorded.
    await sql`update guess_counts set paced_until = now() + interval '1 hour'`
    const clock = {
      ...systemClock,
      async sleep() {
        await sql`update guess_counts set guesses[60] = split_part(guesses[60], '@', 1), paced_until = now()`
      }
    }
    t.equal((await reserve(email, '198.51.100.1', clock)).isRefused, false)
    t.equal(await counted(), 61)
  }
)
