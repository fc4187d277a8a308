/** Tokens of devices: form, expiry, keys, and their own count of guesses. */

import { randomBytes } from 'node:crypto'
import t from 'tap'
import { DeviceTokens, isDeviceOf } from '../../brute-force/device-tokens.ts'
import { newAddress, password, rejection, startAccountTests } from '../accounts/account-tests.ts'

const key = (name: string) => `${name}:${randomBytes(32).toString('base64')}`
const account = { id: '01a20865-c3ab-7767-969e-45618cbf1309', sessionEpoch: 3n }
const dayMs = 86_400_000

t.test('a token names its device and account until it expires, and a changed one is none', async (t) => {
  let nowMs = Date.now()
  const tokens = new DeviceTokens([key('a')], () => nowMs)
  const token = tokens.issue(account) as string
  const device = tokens.read(token)
  t.ok(isDeviceOf(device, account))
  t.notOk(isDeviceOf(device, { ...account, sessionEpoch: 4n }), 'after the end of all sessions')
  t.notOk(isDeviceOf(device, { ...account, id: '01a20865-c3ab-7767-969e-45618cbf1308' }))
  t.notOk(isDeviceOf(device, undefined))
  for (const place of [0, 30, 50, 60, 100]) {
    const changed = token[place] === 'A' ? 'B' : 'A'
    t.equal(tokens.read(`${token.slice(0, place)}${changed}${token.slice(place + 1)}`), undefined)
  }
  for (const malformed of ['', 'x', `${token}A`, token.slice(1), undefined]) t.equal(tokens.read(malformed), undefined)
  t.equal(tokens.read(tokens.issue(account, device))?.id, device?.id, 'a newer token keeps the id of the device')
  t.not(tokens.read(tokens.issue(account))?.id, device?.id)
  nowMs += 399 * dayMs
  t.ok(tokens.read(token))
  nowMs += 2 * dayMs
  t.equal(tokens.read(token), undefined)
})

t.test('keys rotate: the newest signs, the others are still accepted', async (t) => {
  const [old, next] = [key('a'), key('b')]
  const token = new DeviceTokens([old]).issue(account)
  t.ok(new DeviceTokens([next, old]).read(token))
  t.equal(new DeviceTokens([next]).read(token), undefined)
  t.ok(new DeviceTokens([next]).read(new DeviceTokens([next, old]).issue(account)))
  t.equal(new DeviceTokens([]).issue(account), undefined)
})

const service = await startAccountTests(t, { deviceKeys: [key('a')] })
const { client, registry, sql } = service

/** The hashes that had the share of known devices and networks. */
async function countKnown(): Promise<number> {
  const text = await registry.getSingleMetricAsString('auth_password_hash_started_total')
  return Number(/class="known"\} (\d+)/.exec(text)?.[1])
}

t.beforeEach(async () => void (await sql`delete from guess_counts`))

async function newAccount() {
  const email = newAddress()
  const { user, deviceToken } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string, deviceToken: deviceToken as string }
}

function logIn(email: string, written: string, deviceToken: string) {
  const login = client.authenticateAndLogin({ email, password: written, client: { network: '192.0.2.9', deviceToken } })
  return login.then(({ deviceToken }) => deviceToken)
}

/** Exhausts the bounds of all networks and of their first guesses. */
async function attack(email: string): Promise<void> {
  for (let network = 0; network < 60; network += 1) {
    await rejection(
      client.authenticateAndLogin({ email, password: 'wrong', client: { network: `192.0.2.${network}` } })
    )
  }
  for (let network = 0; network < 25; network += 1) {
    await sql`update guess_counts set paced_until = paced_until - interval '1 hour'`
    const origin = { network: `198.51.100.${network}` }
    await rejection(client.authenticateAndLogin({ email, password: 'wrong', client: origin }))
  }
}

t.test('a device logs in while an attack has exhausted the bounds of networks', async (t) => {
  const { email, deviceToken } = await newAccount()
  await attack(email)
  await rejection(logIn(email, password, ''))
  for (let count = 0; count < 4; count += 1) await rejection(logIn(email, 'wrong', deviceToken))
  t.type(await logIn(email, password, deviceToken), 'string')
  const [row] = await sql`select count(*)::int as n from guess_counts`
  t.equal(row?.n, 0)
})

t.test('a guess beyond the five of its device has no share of known devices, admitted or refused', async (t) => {
  const { email, deviceToken } = await newAccount()
  const known = await countKnown()
  for (let count = 0; count < 12; count += 1) await rejection(logIn(email, 'wrong', deviceToken))
  t.equal((await countKnown()) - known, 5)
})

t.test('the token of another account gives no hash the share of known devices', async (t) => {
  const [{ userId }, { deviceToken }] = [await newAccount(), await newAccount()]
  const client = { network: '192.0.2.77', deviceToken }
  const known = await countKnown()
  await service.client.registerAndLogin({ email: newAddress(), password, client })
  const change = (currentPassword: string) =>
    service.client.changePassword({ userId, currentPassword, newPassword: 'another good password', client })
  await rejection(change('wrong'))
  await change(password)
  t.equal(await countKnown(), known)
})

t.test('a device has five guesses, all devices fifteen: 100 in total', async (t) => {
  const { email, deviceToken } = await newAccount()
  const others = []
  for (let count = 0; count < 3; count += 1) others.push((await logIn(email, password, '')) as string)
  await attack(email)
  for (const token of [deviceToken, ...others]) {
    for (let count = 0; count < 6; count += 1) await rejection(logIn(email, 'wrong', token))
  }
  const [row] = await sql`select cardinality(guesses) as n from guess_counts`
  t.equal(row?.n, 100)
  await rejection(logIn(email, password, deviceToken))
})

t.test(
  'a change of the password returns a new token and invalidates the earlier ones; a login keeps the device',
  async (t) => {
    const { email, userId, deviceToken } = await newAccount()
    t.equal((await logIn(email, password, deviceToken))?.slice(0, 20), deviceToken.slice(0, 20))
    const newPassword = 'another good password'
    const change = await client.changePassword({ userId, currentPassword: password, newPassword })
    await attack(email)
    await rejection(logIn(email, newPassword, deviceToken))
    t.type(await logIn(email, newPassword, change.deviceToken as string), 'string')
  }
)

t.test('the end of all other sessions replaces the token of its device, and ends those of the others', async (t) => {
  const { email, userId, deviceToken } = await newAccount()
  const other = (await logIn(email, password, '')) as string
  const { session, deviceToken: present } = await client.authenticateAndLogin({
    email,
    password,
    client: { network: '192.0.2.9', deviceToken }
  })
  const end = (token: string) =>
    client.endOtherSessions({ userId, keptSessionId: session?.id as string, client: { deviceToken: token } })
  const kept = (await end(present as string)).deviceToken as string
  t.equal(kept.slice(0, 20), deviceToken.slice(0, 20), 'the device keeps its id')
  t.equal((await end(present as string)).deviceToken, undefined, 'the replaced token is not valid')
  t.equal((await end(other)).deviceToken, undefined, 'nor is that of another device')
  t.equal((await end((await newAccount()).deviceToken)).deviceToken, undefined, 'nor that of another account')
})

t.test('the token of another account has no effect', async (t) => {
  const [{ email }, other] = [await newAccount(), await newAccount()]
  await attack(email)
  t.ok(await rejection(logIn(email, password, other.deviceToken)))
})
