/** Verification of an address over gRPC on the real PostgreSQL. */

import t from 'tap'
import { emailToken } from '../../mail/email-token.ts'
import { emailsOf, newAddress, newestToken, password, reasonOf, rejection, startAccountTests } from './account-tests.ts'

const service = await startAccountTests(t)
const { client, sql, sessions } = service

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  return { email, userId, token: await newestToken(service, userId, 'verify') }
}

const isVerified = async (userId: string) => (await client.getAccount({ userId })).user?.emailVerified
const eventsOf = async (userId: string) =>
  (await sql`select type from outbox where user_id = ${userId} order by id`).map(({ type }) => type)

t.test('a registration writes one email to its address, valid for a day, and one event', async (t) => {
  const { email, userId } = await newAccount()
  const [row, ...others] = await emailsOf(sql, userId, 'verify')
  t.match(row, { recipient: email, sessionEpoch: 0n })
  t.equal(others.length, 0)
  const validHours = ((row?.expiresAt.getTime() ?? 0) - Date.now()) / 3_600_000
  t.ok(validHours > 23.9 && validHours < 24.1)
  t.same(await eventsOf(userId), ['user.created'])
})

t.test('a registration whose address is over its limit succeeds without an email', async (t) => {
  const { email, userId } = await newAccount()
  await client.deleteAccount({ userId })
  const { user } = await client.registerAndLogin({ email, password })
  t.equal((await emailsOf(sql, user?.id as string, 'verify')).length, 0)
})

t.test('verifies once, and ends and creates no session', async (t) => {
  const { userId, token } = await newAccount()
  const before = [...sessions.live.keys()]
  t.match(await client.verifyEmail({ token }), { userId, emailChanged: false })
  t.equal(await isVerified(userId), true)
  t.same([...sessions.live.keys()], before)
  t.equal(reasonOf(await rejection(client.verifyEmail({ token }))), 'TOKEN_REJECTED')
  t.same(await eventsOf(userId), ['user.created', 'user.email_verified'])
})

t.test('of clients that use one token at once, one succeeds', async (t) => {
  const { userId, token } = await newAccount()
  const results = await Promise.allSettled([1, 2, 3, 4].map(() => client.verifyEmail({ token })))
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const each of results) if (each.status === 'rejected') t.equal(reasonOf(each.reason), 'TOKEN_REJECTED')
  t.same(await eventsOf(userId), ['user.created', 'user.email_verified'])
})

t.test('a second token verifies a verified address without an event', async (t) => {
  const { userId, token } = await newAccount()
  await sql`delete from email_limits`
  await client.requestEmailVerification({ userId })
  const second = await newestToken(service, userId, 'verify')
  t.not(second, token)
  await client.verifyEmail({ token })
  await client.verifyEmail({ token: second })
  t.same(await eventsOf(userId), ['user.created', 'user.email_verified'])
})

t.test('the email is sent again within its limit, until the address is verified', async (t) => {
  const { userId, token } = await newAccount()
  const rows = async () => (await emailsOf(sql, userId, 'verify')).length
  await client.requestEmailVerification({ userId })
  t.equal(await rows(), 1, 'the email of the registration counts')
  await sql`delete from email_limits`
  await client.requestEmailVerification({ userId })
  t.equal(await rows(), 2)
  await client.verifyEmail({ token })
  await sql`delete from email_limits`
  await client.requestEmailVerification({ userId })
  t.equal(await rows(), 2)
  const unknown = '01a20865-c3ab-7767-969e-45618cbf1309'
  t.equal(reasonOf(await rejection(client.requestEmailVerification({ userId: unknown }))), 'ACCOUNT_NOT_FOUND')
})

t.test('rejects every other token with one text', async (t) => {
  const { email, userId, token } = await newAccount()
  const other = await newAccount()
  const [row] = await emailsOf(sql, userId, 'verify')
  const [key = ''] = service.mail?.keys ?? []
  if (row === undefined) throw new Error('no email')
  const signed = (changed: Partial<typeof row>) => emailToken({ ...row, ...changed }, [key])
  await client.requestPasswordReset({ email })
  await client.requestPasswordReset({ email: newAddress() })
  const [decoy] = await sql`select id, session_epoch, expires_at from emails where user_id is null`
  const decoyRow = {
    id: decoy?.id as string,
    userId: null,
    purpose: 'reset',
    recipient: null,
    sessionEpoch: 0n,
    expiresAt: decoy?.expires_at as Date
  }
  const rejected = [
    '',
    'x',
    token.slice(0, 63),
    `${token}A`,
    `${token.slice(0, 63)}=`,
    `${token.slice(0, 63)}é`,
    `${token.slice(0, 62)}😀`,
    ` ${token}`,
    token.toLowerCase(),
    'A'.repeat(64),
    signed({ purpose: 'reset' }),
    signed({ userId: other.userId }),
    signed({ recipient: other.email }),
    signed({ sessionEpoch: 1n }),
    signed({ expiresAt: new Date(row.expiresAt.getTime() + 1) }),
    emailToken(row, [`unknown:${Buffer.alloc(32).toString('base64')}`]),
    Buffer.concat([
      Buffer.from(other.token, 'base64url').subarray(0, 16),
      Buffer.from(token, 'base64url').subarray(16)
    ]).toString('base64url'),
    await newestToken(service, userId, 'reset'),
    emailToken(decoyRow, [key])
  ]
  const texts = new Set<string>()
  for (const each of rejected) {
    const error = await rejection(client.verifyEmail({ token: each }))
    t.equal(reasonOf(error), 'TOKEN_REJECTED', each)
    texts.add(error.message)
    t.equal(
      reasonOf(
        await rejection(client.resetPassword({ token: signed({ purpose: 'reset' }), newPassword: 'another battery' }))
      ),
      'TOKEN_REJECTED'
    )
  }
  t.equal(texts.size, 1)
  t.equal(reasonOf(await rejection(client.resetPassword({ token, newPassword: 'another battery' }))), 'TOKEN_REJECTED')
  t.ok((await client.verifyEmail({ token })).userId, 'the token itself is valid')
})

t.test('rejects an expired token, one of an older epoch, and one of a disabled account', async (t) => {
  const expired = await newAccount()
  await sql`update emails set expires_at = now() where user_id = ${expired.userId}`
  const older = await newAccount()
  await client.endOtherSessions({ userId: older.userId, keptSessionId: 'A'.repeat(22) })
  const disabled = await newAccount()
  await sql`update users set disabled_at = now() where id = ${disabled.userId}`
  for (const { userId, token } of [
    { ...expired, token: await newestToken(service, expired.userId, 'verify') },
    older,
    disabled
  ]) {
    t.equal(reasonOf(await rejection(client.verifyEmail({ token }))), 'TOKEN_REJECTED')
    t.equal(await isVerified(userId), false)
  }
})
