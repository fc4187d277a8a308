/** The bounds on guesses at a password, over gRPC on the real PostgreSQL, with two instances on one database. */

import { createHmac } from 'node:crypto'
import { Code } from '@connectrpc/connect'
import t from 'tap'
import { newAddress, newestToken, password, rejection } from '../accounts/account-tests.ts'
import { startUserSvc } from '../service.ts'
import { requireRejection, startGuessTests, wrong } from './guess-tests.ts'

const { service, newAccount, logIn, guess, counted, newGate, reserve, letAnHourPass } = await startGuessTests(t)
const { client, sql } = service
const second = await startUserSvc(t, { url: service.url })

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

t.test('the statements of a guess have a least duration, which hides a row with many guesses', async (t) => {
  const { email } = await newAccount()
  await guess(email, '192.0.2.1', 5)
  for (const isRefused of [true, false]) {
    const times = { reserve: [] as number[], fail: [] as number[] }
    for (let count = 0; count < 20; count += 1) {
      const startedAt = performance.now()
      const reserved = await reserve(isRefused ? email : newAddress(), '192.0.2.1')
      const reservedAt = performance.now()
      await reserved.fail()
      times.reserve.push(reservedAt - startedAt)
      times.fail.push(performance.now() - reservedAt)
      t.equal(reserved.isRefused, isRefused)
    }
    // Node.js starts a timer up to a millisecond early.
    t.ok(Math.min(...times.reserve) >= 5 - 1, times.reserve.join())
    t.ok(Math.min(...times.fail) >= 3 - 1, times.fail.join())
  }
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
