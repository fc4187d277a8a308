/** The bounds on guesses at a password, over gRPC on the real PostgreSQL, with two instances on one database. */

import { createHmac } from 'node:crypto'
import { Code, type ConnectError } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import postgres from 'postgres'
import t from 'tap'
import { newTrace } from '#common/ops/trace.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { createGuessGate, type ReservedGuess } from '../../brute-force/guess-gate.ts'
import { createGuessRows } from '../../brute-force/guess-rows.ts'
import { guessMetrics } from '../../metrics.ts'
import { newAddress, newestToken, password, reasonOf, rejection, startAccountTests } from '../accounts/account-tests.ts'
import { startUserSvc } from '../service.ts'

const service = await startAccountTests(t)
const { client, sql } = service
const second = await startUserSvc(t, { url: service.url })
const wrong = 'wrong password 1'

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

/** Whether a login succeeds. @throws on any other response than that of a wrong password */
async function logIn(email: string, network: string, written = password, through = client): Promise<boolean> {
  const login = through.authenticateAndLogin({ email, password: written, client: { network } })
  return login.then(() => true, requireRejection)
}

function requireRejection(error: ConnectError): boolean {
  const reason = reasonOf(error)
  if (!['CREDENTIALS_REJECTED', 'WRONG_PASSWORD'].includes(reason)) throw error
  return false
}

async function guess(email: string, network: string, times: number): Promise<void> {
  for (let count = 0; count < times; count += 1) await logIn(email, network, wrong)
}

/** The guesses that were compared since the last correct one. */
async function counted(): Promise<number> {
  const [row] = await sql`select coalesce(sum(cardinality(guesses)), 0)::int as n from guess_counts`
  return row?.n as number
}

const newGate = (clock: Clock = systemClock) =>
  createGuessGate(createGuessRows(service.db), guessMetrics(new Registry()), clock)

/** Reserves a guess without a check of its password. */
function reserve(email: string, network: string, clock: Clock = systemClock, { signal } = new AbortController()) {
  const gate = newGate(clock)
  const call = { signal, caller: 'gateway', timeoutMs: () => 10_000, trace: newTrace(), log: silentLog }
  return gate.reserve({ email, user: undefined, userId: undefined, network, device: undefined }, call)
}

/**
 * Locks the row of the address by another connection.
 *
 * @returns a function that unlocks it
 */
async function lockRow(): Promise<() => Promise<void>> {
  const other = postgres(service.url, { max: 1, onnotice: () => {} })
  const locked = Promise.withResolvers<void>()
  const unlocked = Promise.withResolvers<void>()
  const done = other.begin(async (transaction) => {
    await transaction`select from guess_counts for update`
    locked.resolve()
    await unlocked.promise
  })
  await locked.promise
  return async () => {
    unlocked.resolve()
    await done
    await other.end()
  }
}

const untilWaiting = (statements: number) =>
  until(`${statements} statements wait for the row`, async () => {
    const waiting = await sql`
      select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%guess_counts%'`
    return waiting.length === statements
  })

/** All times in the past by an hour more. */
const letAnHourPass = () => sql`update guess_counts set paced_until = paced_until - interval '1 hour'`

t.beforeEach(async () => void (await sql`delete from guess_counts`))

t.test('compares five wrong passwords of a network, and no more; a correct one starts anew', async (t) => {
  const { email } = await newAccount()
  await guess(email, '192.0.2.1', 4)
  t.equal(await logIn(email, '192.0.2.1'), true, 'the fifth is correct')
  t.equal(await counted(), 0)
  await guess(email, '192.0.2.1', 5)
  t.equal(await logIn(email, '192.0.2.1'), false, 'the sixth is not compared')
  t.equal(await logIn(email, '192.0.2.2'), true, 'another network is not affected')
  t.equal(await logIn(email, '192.0.2.1'), true)
})

t.test('the refused guess has the response and the work of a wrong password', async (t) => {
  const { email } = await newAccount()
  await guess(email, '192.0.2.1', 5)
  const before = await service.hashes()
  const client = { network: '192.0.2.1' }
  const refused = await rejection(service.client.authenticateAndLogin({ email, password, client }))
  const wrongly = await rejection(service.client.authenticateAndLogin({ email: newAddress(), password, client }))
  t.equal(await service.hashes(), before + 2)
  for (const property of ['code', 'rawMessage', 'details'] as const) t.same(refused[property], wrongly[property])
})

t.test('of 400 concurrent guesses of 100 networks over two instances, at most 100 are compared', async (t) => {
  const { email } = await newAccount()
  for (let batch = 0; batch < 400; batch += 20) {
    const guesses = Array.from({ length: 20 }, (_, index) =>
      logIn(email, `192.0.2.${(batch + index) % 100}`, wrong, [client, second.client][index % 2])
    )
    t.same(new Set(await Promise.all(guesses)), new Set([false]))
  }
  const compared = await counted()
  t.ok(compared >= 60 && compared <= 63, `${compared} guesses of any network, or first ones`)
  for (let hour = 0; hour < 12; hour += 1) {
    await letAnHourPass()
    for (let index = 0; index < 6; index += 1) await logIn(email, `198.51.100.${6 * hour + index}`, wrong)
  }
  t.equal(await counted(), 85, '60 of any network and 25 first ones')
  t.equal(await logIn(email, '203.0.113.1'), false)
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
    const unlock = await lockRow()
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

t.test('counts addresses without an account in the same way, and stores no address', async (t) => {
  const [known, unknown] = [(await newAccount()).email, newAddress()]
  for (const email of [known, unknown]) await guess(email, '192.0.2.1', 7)
  const rows =
    await sql`select guesses, recent_networks as networks, row_to_json(each)::text as text from guess_counts as each`
  t.equal(rows.length, 2)
  for (const { guesses, networks, text } of rows) {
    t.equal(guesses.length, 5)
    t.equal(networks.length, 1)
    t.notMatch(text, /example|192\.0/)
  }
  t.not(rows[0]?.networks[0], rows[1]?.networks[0], 'the rows do not show that two addresses share a network')
})

t.test('the row of an address that 300 networks attack stays small and in its table', async (t) => {
  const email = newAddress()
  const failFrom = async (network: number) => (await reserve(email, `network ${network}`)).fail()
  for (let count = 0; count < 60; count += 1) await failFrom(count % 12)
  for (let network = 12; network < 300; network += 1) await failFrom(network)
  const [row] = await sql`
    select pg_column_size(each) as bytes, cardinality(recent_networks) as networks, pg_relation_size(reltoastrelid)::int as outside
    from guess_counts as each, pg_class where pg_class.oid = 'guess_counts'::regclass`
  t.equal(row?.networks, 256)
  t.ok(row?.bytes < 4096, `${row?.bytes} bytes`)
  t.equal(row?.outside, 0)
})

t.test('one count for all paths: login, change of the password and of the address', async (t) => {
  const { email, userId } = await newAccount()
  const from = { client: { network: '192.0.2.1' } }
  const changed = 'another good password'
  const changePassword = (currentPassword: string) =>
    client.changePassword({ userId, currentPassword, newPassword: changed, ...from }).then(() => true, requireRejection)
  const changeEmail = (written: string) =>
    client.changeEmail({ userId, email: newAddress(), password: written, ...from }).then(() => true, requireRejection)
  await guess(email, '192.0.2.1', 1)
  t.equal(await changePassword(wrong), false)
  t.equal(await changeEmail(wrong), false)
  t.equal(await counted(), 3)
  t.equal(await changeEmail(password), true)
  t.equal(await counted(), 0)
  await guess(email, '192.0.2.1', 5)
  t.equal(await changePassword(password), false)
  t.equal(await changeEmail(password), false)
  t.equal(await logIn(email, '192.0.2.2'), true)
  t.equal(await changePassword(password), true)
})

t.test('a rejected field of a change is no guess', async (t) => {
  const { email, userId } = await newAccount()
  await rejection(client.changeEmail({ userId, email, password: wrong }))
  await rejection(client.changePassword({ userId, currentPassword: wrong, newPassword: email }))
  t.equal(await counted(), 0)
})

t.test('a reset by email resets the count', async (t) => {
  const { email, userId } = await newAccount()
  await guess(email, '192.0.2.1', 6)
  await client.requestPasswordReset({ email })
  await client.resetPassword({
    token: await newestToken(service, userId, 'reset'),
    newPassword: 'another good password'
  })
  t.equal(await logIn(email, '192.0.2.1', 'another good password'), true)
})

t.test(
  'the comparison of a reset with the current password is a guess, and never keeps the owner from a reset',
  async (t) => {
    const { email, userId } = await newAccount()
    const newReset = async () => {
      await client.requestPasswordReset({ email })
      const token = await newestToken(service, userId, 'reset')
      return (newPassword: string) => client.resetPassword({ token, newPassword, client: { network: '192.0.2.1' } })
    }
    await guess(email, '192.0.2.1', 4)
    const reset = await newReset()
    const before = await service.hashes()
    t.equal((await rejection(reset(password))).code, Code.InvalidArgument, 'the current password')
    t.equal(await service.hashes(), before + 1)
    t.equal(await counted(), 0, 'a correct password starts anew')
    await guess(email, '192.0.2.1', 5)
    await reset(password)
    t.equal(await counted(), 0, 'a refused guess is not compared: the reset succeeds')
    t.equal(await logIn(email, '192.0.2.1'), true)
  }
)

t.test('without the network of the client, only the bounds of the account apply', async (t) => {
  const { email } = await newAccount()
  const login = (written: string) =>
    client.authenticateAndLogin({ email, password: written }).then(() => true, requireRejection)
  for (let count = 0; count < 30; count += 1) await login(wrong)
  t.equal(await login(password), true)
})

t.test('a guess that was not compared does not count', async (t) => {
  const { email } = await newAccount()
  const aborted = Array.from({ length: 40 }, () => {
    const signal = AbortSignal.timeout(1)
    return client.authenticateAndLogin({ email, password: wrong, client: { network: '192.0.2.1' } }, { signal })
  })
  await Promise.allSettled(aborted)
  await logIn(email, '192.0.2.2')
  t.equal(await logIn(email, '192.0.2.1'), true)
})

t.test('concurrent logins with the correct password succeed, also of one network', async (t) => {
  const { email } = await newAccount()
  const logins = Array.from({ length: 30 }, () => logIn(email, '192.0.2.1'))
  t.same(new Set(await Promise.all(logins)), new Set([true]))
})

t.test('a guess whose result was lost counts for a minute, and refuses no login as a wrong password', async (t) => {
  const { email } = await newAccount()
  await guess(email, '192.0.2.1', 1)
  const reserved = (secondsAgo: number) => sql`
    update guess_counts set guesses = array(
      select 'a' || repeat('1', 32) || '@' || (extract(epoch from now())::bigint - ${secondsAgo}::int) from generate_series(1, 60))`
  await reserved(50)
  const error = await rejection(client.authenticateAndLogin({ email, password, client: { network: '192.0.2.1' } }))
  t.equal(error.code, Code.Unavailable)
  await reserved(61)
  t.equal(await logIn(email, '192.0.2.1', wrong), false)
  t.equal(await counted(), 1, 'lost results are forgotten')
  t.equal(await logIn(email, '192.0.2.1'), true)
})

t.test(
  'guesses that an earlier version has recorded, with sources of 16 digits, count for their network',
  async (t) => {
    const { email } = await newAccount()
    const [row] = await sql`select secret from row_keys where name = 'guesses'`
    const secret = Buffer.from(row?.secret, 'base64url')
    const source = (kind: string, value: string) =>
      createHmac('sha256', secret)
        .update(JSON.stringify([kind, email, value]))
        .digest('hex')
        .slice(0, 16)
    const earlier = (prefix: string, digits: string, number: number) =>
      prefix + digits + String(number).padStart(16, '0')
    const ofNetwork = (count: number) =>
      Array.from({ length: count }, (_, number) => earlier('a', source('network', '192.0.2.1'), number))
    const key = (await newGate().keyOf(email)) as string
    await sql`
    insert into guess_counts (key, guesses, networks, paced_until, expires_at)
    values (${key}, ${ofNetwork(4)}, ${[source('network', '192.0.2.1')]}, now(), now() + interval '1 day')`
    await guess(email, '192.0.2.1', 1)
    t.equal(await logIn(email, '192.0.2.1'), false, 'five guesses of the network were wrong')
    const ofAccount = Array.from({ length: 55 }, (_, number) =>
      earlier('a', source('network', `other ${number}`), number)
    )
    await sql`update guess_counts set guesses = ${ofAccount} || guesses`
    for (let network = 1; network <= 3; network += 1) await guess(email, `198.51.100.${network}`, 1)
    t.equal(await counted(), 63, '60 of any network, and three first ones')
    t.equal(await logIn(email, '198.51.100.4'), false)
  }
)
