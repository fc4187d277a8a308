/**
 * The work of failed calls, which decides their response time. Kinds of failures that must not be
 * separable do the same work in the same order. `make test-security PARTS=timing` measures the times.
 */

import { randomUUID } from 'node:crypto'
import type { ConnectError } from '@connectrpc/connect'
import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { createTestClock } from '#common/testing/test-clock.ts'
import { newAddress, password, rejection, startAccountTests } from './account-tests.ts'
import { recordWork } from './equal-work.ts'

const clock = createTestClock()
const service = await startAccountTests(t, { sessionClock: clock })
const { client, sql } = service
const sameWork = recordWork(t, service, clock)
const wrong = 'wrong password 1'
let networks = 0
const newNetwork = () => `network ${++networks}`

async function newAccount(columns: { password_hash?: string; disabled_at?: Date } = {}) {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  if (Object.keys(columns).length > 0) await sql`update users set ${sql(columns)} where id = ${userId}`
  return { email, userId }
}

/** Sends wrong passwords until the next one of the network is refused. */
async function exhaust(email: string, network: string): Promise<void> {
  for (let count = 0; count < 5; count += 1) await logIn(email, network)
}

function logIn(email: string, network = newNetwork(), written = wrong): Promise<ConnectError> {
  return rejection(client.authenticateAndLogin({ email, password: written, client: { network } }))
}

t.test('a login fails with the same work, whatever the reason', async (t) => {
  const known = (await newAccount()).email
  const [refused, unknown] = [(await newAccount()).email, newAddress()]
  const network = newNetwork()
  for (const email of [refused, unknown]) await exhaust(email, network)
  const email = async (columns: Parameters<typeof newAccount>[0]) => (await newAccount(columns)).email
  const disabled = await email({ disabled_at: new Date() })
  const passwordless = await email({ password_hash: 'none' })
  const imported = await email({ password_hash: hashSync(password, { cost: 4 }) })
  const expected = await sameWork(t, {
    'unknown address': () => logIn(newAddress()),
    'wrong password': () => logIn(known),
    disabled: () => logIn(disabled),
    'without a password': () => logIn(passwordless),
    'imported hash': () => logIn(imported),
    'over-long password': () => logIn(known, newNetwork(), 'x'.repeat(5000)),
    'over-long password, unknown address': () => logIn(newAddress(), newNetwork(), 'x'.repeat(5000)),
    'password with NUL': () => logIn(known, newNetwork(), 'nul \0'),
    'refused by the gate': () => logIn(refused, network, password),
    'refused by the gate, unknown address': () => logIn(unknown, network)
  })
  t.equal(expected.hashes, 1)
})

t.test('a wrong password of a logged-in user does the same work, whatever the reason', async (t) => {
  const [account, other] = [await newAccount(), await newAccount()]
  const imported = await newAccount({ password_hash: hashSync(password, { cost: 4 }) })
  const passwordless = await newAccount({ password_hash: 'none' })
  const refused = await newAccount()
  const network = newNetwork()
  await exhaust(refused.email, network)
  const change = (userId: string, from = newNetwork(), currentPassword = wrong) =>
    rejection(
      client.changePassword({
        userId,
        currentPassword,
        newPassword: 'another good password',
        client: { network: from }
      })
    )
  await sameWork(t, {
    'wrong password': () => change(account.userId),
    'imported hash': () => change(imported.userId),
    'without a password': () => change(passwordless.userId),
    'over-long password': () => change(account.userId, newNetwork(), 'x'.repeat(5000)),
    'refused by the gate': () => change(refused.userId, network, password)
  })
  const move = (userId: string, email: string, from = newNetwork()) =>
    rejection(client.changeEmail({ userId, email, password: wrong, client: { network: from } }))
  await sameWork(t, {
    'a free address': () => move(account.userId, newAddress()),
    'a taken address': () => move(account.userId, other.email),
    'refused by the gate': () => move(refused.userId, newAddress(), network)
  })
})

t.test('requests for emails do the same work for known and unknown addresses', async (t) => {
  const request = (email: string) => client.requestPasswordReset({ email })
  const emails = await Promise.all([newAccount(), newAccount(), newAccount({ disabled_at: new Date() })])
  const [first, second, disabled] = emails.map(({ email }) => email) as [string, string, string]
  await sameWork(t, {
    'unknown address': () => request(newAddress()),
    known: () => request(first),
    disabled: () => request(disabled),
    'known, over the limit': () => request(first),
    'unknown, over the limit': () => request(disabled)
  })
  const { userId } = await newAccount()
  const move = (email: string) => client.changeEmail({ userId, email, password, client: { network: newNetwork() } })
  await sameWork(t, { 'a free address': () => move(newAddress()), 'a taken address': () => move(second) })
})

t.test('a token of no effect does the same work, whether or not it names an email', async (t) => {
  const { email, userId } = await newAccount()
  await client.requestPasswordReset({ email })
  const [row] = await sql`select id from emails where user_id = ${userId}`
  const forged = (id: string) =>
    Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), Buffer.alloc(48, 1)])
      .subarray(0, 48)
      .toString('base64url')
  const reset = (id: string) =>
    rejection(client.resetPassword({ token: forged(id), newPassword: 'another good password' }))
  const verify = (id: string) => rejection(client.verifyEmail({ token: forged(id) }))
  for (const use of [reset, verify]) {
    const kinds = { 'of no email': () => use(randomUUID()), 'of an email': () => use(row?.id) }
    await sameWork(t, kinds)
  }
})
