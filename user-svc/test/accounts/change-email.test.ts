/** Change of an address over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import t from 'tap'
import {
  emailsOf,
  fieldsOf,
  hasRejectedCredentials,
  newAddress,
  newestToken,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from './account-tests.ts'

const service = await startAccountTests(t)
const { client, sql, sessions, hashes } = service

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

const change = (userId: string, email: string, written = password) =>
  client.changeEmail({ userId, email, password: written })
const addressOf = async (userId: string) => (await client.getAccount({ userId })).user?.email

t.test('the new address confirms the change, the old one gets a notice, and the sessions stay', async (t) => {
  const { email, userId } = await newAccount()
  const address = newAddress()
  await change(userId, address.toUpperCase())
  t.equal(await addressOf(userId), email, 'nothing changes before the token is used')
  t.match(await emailsOf(sql, userId, 'change'), [{ recipient: address, usedAt: null }])
  t.match(await emailsOf(sql, userId, 'change-notice'), [{ recipient: email }])
  const before = [...sessions.live.keys()]
  const token = await newestToken(service, userId, 'change')
  t.match(await client.verifyEmail({ token }), { userId, emailChanged: true })
  t.match((await client.getAccount({ userId })).user, { email: address, emailVerified: true })
  t.same([...sessions.live.keys()], before)
  t.ok((await client.authenticateAndLogin({ email: address, password })).token)
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password }))))
  t.match(await sql`select type from outbox where user_id = ${userId} order by id`, [
    { type: 'user.created' },
    { type: 'user.email_changed' }
  ])
  t.equal(reasonOf(await rejection(client.verifyEmail({ token }))), 'TOKEN_REJECTED')
})

t.test('an IDN domain is stored in its ASCII form', async (t) => {
  const { userId } = await newAccount()
  await change(userId, 'ada@bücher.example')
  await client.verifyEmail({ token: await newestToken(service, userId, 'change') })
  t.equal(await addressOf(userId), 'ada@xn--bcher-kva.example')
  t.same(fieldsOf(await rejection(change(userId, 'Ada@BÜCHER.example'))), ['email'], 'it is the same address')
})

t.test('the own address and invalid ones are named, without a hash', async (t) => {
  const { email, userId } = await newAccount()
  const before = await hashes()
  for (const each of [email, email.toUpperCase(), 'nobody', `x@example.org\r\nBcc: ${email}`, '']) {
    const error = await rejection(change(userId, each))
    t.equal(error.code, Code.InvalidArgument)
    t.same(fieldsOf(error), ['email'])
  }
  t.equal(await hashes(), before)
  const unknown = '01a20865-c3ab-7767-969e-45618cbf1309'
  t.equal(reasonOf(await rejection(change(unknown, newAddress()))), 'ACCOUNT_NOT_FOUND')
})

t.test('a wrong password writes nothing', async (t) => {
  const { userId } = await newAccount()
  t.equal(reasonOf(await rejection(change(userId, newAddress(), 'wrong password'))), 'WRONG_PASSWORD')
  await sql`update users set password_hash = 'none' where id = ${userId}`
  t.equal(reasonOf(await rejection(change(userId, newAddress()))), 'WRONG_PASSWORD')
  t.equal((await sql`select from emails where user_id = ${userId} and purpose like 'change%'`).length, 0)
})

t.test('a taken address gets the response and the work of a free one, and no email', async (t) => {
  const { email, userId } = await newAccount()
  const taken = await newAccount()
  const decoys = async () => (await sql`select from emails where user_id is null and purpose = 'change'`).length
  const before = { hashes: await hashes(), decoys: await decoys() }
  t.same(await change(userId, taken.email), await change((await newAccount()).userId, newAddress()))
  t.equal((await hashes()) - before.hashes, 3, 'two checks and a registration')
  t.equal((await decoys()) - before.decoys, 1)
  t.equal((await emailsOf(sql, userId, 'change')).length, 0)
  t.equal((await sql`select from emails where recipient = ${taken.email} and purpose = 'change'`).length, 0)
  t.match(await emailsOf(sql, userId, 'change-notice'), [{ recipient: email }])
  await change(userId, taken.email)
  t.equal((await decoys()) - before.decoys, 1, 'the limit counts a taken address as a free one')
})

t.test('an address that another account gets meanwhile is taken; the token stays valid', async (t) => {
  const { email, userId } = await newAccount()
  const address = newAddress()
  await change(userId, address)
  const token = await newestToken(service, userId, 'change')
  const { user } = await client.registerAndLogin({ email: address, password })
  t.equal(reasonOf(await rejection(client.verifyEmail({ token }))), 'ADDRESS_TAKEN')
  t.equal(await addressOf(userId), email)
  await client.deleteAccount({ userId: user?.id as string })
  t.equal((await client.verifyEmail({ token })).emailChanged, true)
})

t.test('of two accounts that change to one address, one gets it', async (t) => {
  const address = newAddress()
  const tokens: string[] = []
  for (const { userId } of [await newAccount(), await newAccount()]) {
    await sql`delete from email_limits`
    await change(userId, address)
    tokens.push(await newestToken(service, userId, 'change'))
  }
  const results = await Promise.allSettled(tokens.map((token) => client.verifyEmail({ token })))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const each of results) if (each.status === 'rejected') t.equal(reasonOf(each.reason), 'ADDRESS_TAKEN')
})

t.test('a newer request supersedes an older one; the notice has its own limit', async (t) => {
  const { userId } = await newAccount()
  await change(userId, newAddress())
  const older = await newestToken(service, userId, 'change')
  await change(userId, newAddress())
  t.equal(reasonOf(await rejection(client.verifyEmail({ token: older }))), 'TOKEN_REJECTED')
  t.equal((await emailsOf(sql, userId, 'change')).length, 2)
  t.equal((await emailsOf(sql, userId, 'change-notice')).length, 1)
  t.equal((await client.verifyEmail({ token: await newestToken(service, userId, 'change') })).emailChanged, true)
})

t.test('a request over the limit supersedes nothing', async (t) => {
  const { userId } = await newAccount()
  const address = newAddress()
  await change(userId, address)
  await change(userId, address)
  t.match(await emailsOf(sql, userId, 'change'), [{ recipient: address, usedAt: null }])
})

t.test('a change of address ends the verification of the old one', async (t) => {
  const { userId } = await newAccount()
  const verify = await newestToken(service, userId, 'verify')
  await change(userId, newAddress())
  await client.verifyEmail({ token: await newestToken(service, userId, 'change') })
  t.equal(reasonOf(await rejection(client.verifyEmail({ token: verify }))), 'TOKEN_REJECTED')
})

t.test('a token of a notice or of an older password is rejected', async (t) => {
  const { userId } = await newAccount()
  await change(userId, newAddress())
  const notice = await newestToken(service, userId, 'change-notice')
  const older = await newestToken(service, userId, 'change')
  await client.changePassword({ userId, currentPassword: password, newPassword: 'another battery staple' })
  for (const token of [notice, older])
    t.equal(reasonOf(await rejection(client.verifyEmail({ token }))), 'TOKEN_REJECTED')
})
