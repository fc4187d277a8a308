/** Accounts over gRPC on the real PostgreSQL: registration, log-in, log-out, deletion, and what is left after failures. */

import { Code, ConnectError } from '@connectrpc/connect'
import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { fieldViolations, reasonMetadata, unavailable } from '#common/errors/connect-errors.ts'
import { startUserSvc } from './service.ts'

const { client, sql, sessions, registry } = await startUserSvc(t)
const password = 'correct horse battery staple'
let count = 0
const newAddress = () => `user${++count}@example.org`

t.beforeEach(() => {
  Object.assign(sessions, { serving: true, failure: undefined })
  sessions.live.clear()
})

const refusal = (call: Promise<unknown>) =>
  call.then(
    () => t.fail('it was not refused') as never,
    (error) => ConnectError.from(error)
  )
const rejected = (error: ConnectError) => reasonMetadata(error, 'user.v1', 'CREDENTIALS_REJECTED') !== undefined

t.test('a registration leaves one row and one session, and logs in from then on', async (t) => {
  const email = newAddress()
  const { user, token } = await client.registerAndLogin({ email: email.toUpperCase(), password })
  t.equal(user?.email, email)
  t.equal(sessions.live.size, 1)
  t.match(token, /^ses_/)
  const again = await client.authenticateAndLogin({ email: email.toUpperCase(), password })
  t.equal(again.user?.id, user?.id)
  t.same(again.user?.createdAt, user?.createdAt)
  const [row] = await sql`select * from users where email = ${email}`
  t.match(row?.password_hash, /^hs384:-:\$2b\$04\$/)
})

t.test('every field at fault is named at once, and none of the values', async (t) => {
  const error = await refusal(client.registerAndLogin({ email: 'nobody', password: 'hunter2' }))
  t.equal(error.code, Code.InvalidArgument)
  t.same(
    fieldViolations(error).map(({ field }) => field),
    ['email', 'password']
  )
  t.notMatch(error.message, /nobody|hunter2/)
})

t.test('a taken address is told before a password is hashed, also to those who race for it', async (t) => {
  const email = newAddress()
  const results = await Promise.allSettled(
    Array.from({ length: 8 }, () => client.registerAndLogin({ email, password }))
  )
  t.equal(results.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const result of results) {
    if (result.status === 'rejected') t.equal(ConnectError.from(result.reason).code, Code.AlreadyExists)
  }
  const hashes = async () =>
    (await registry.getSingleMetricAsString('auth_password_hash_seconds')).match(/count (\d+)/)?.[1]
  const before = await hashes()
  t.equal((await refusal(client.registerAndLogin({ email, password }))).code, Code.AlreadyExists)
  t.equal(await hashes(), before)
  await new Promise((resolve) => setTimeout(resolve, 50))
  t.equal(sessions.live.size, 1, 'the sessions of those who lost were ended')
})

t.test('a wrong address and a wrong password cannot be told apart', async (t) => {
  const email = newAddress()
  await client.registerAndLogin({ email, password })
  const errors = [
    await refusal(client.authenticateAndLogin({ email, password: 'wrong password' })),
    await refusal(client.authenticateAndLogin({ email: newAddress(), password })),
    await refusal(client.authenticateAndLogin({ email, password: 'x'.repeat(5000) })),
    await refusal(client.authenticateAndLogin({ email, password: '' })),
    await refusal(client.authenticateAndLogin({ email, password: `${password}\0` }))
  ]
  for (const error of errors) {
    t.equal(error.code, Code.Unauthenticated)
    t.ok(rejected(error))
    t.equal(error.rawMessage, errors[0]?.rawMessage)
  }
})

t.test('without sessions nothing is hashed, nothing is written, and nobody is told 401', async (t) => {
  const email = newAddress()
  await client.registerAndLogin({ email, password })
  sessions.serving = false
  sessions.failure = unavailable('down')
  t.equal((await refusal(client.authenticateAndLogin({ email, password }))).code, Code.Unavailable)
  const hashes = await registry.getSingleMetricAsString('auth_password_hash_seconds')
  t.equal((await refusal(client.authenticateAndLogin({ email, password: 'wrong password' }))).code, Code.Unavailable)
  t.equal((await refusal(client.registerAndLogin({ email: newAddress(), password }))).code, Code.Unavailable)
  t.equal(await registry.getSingleMetricAsString('auth_password_hash_seconds'), hashes)
  sessions.serving = true
  const address = newAddress()
  t.equal((await refusal(client.registerAndLogin({ email: address, password }))).code, Code.Unavailable)
  t.equal((await sql`select from users where email = ${address}`).length, 0)
})

t.test('a wrong password is not 401 while no session can be created, even if that was not known before', async (t) => {
  const email = newAddress()
  await client.registerAndLogin({ email, password })
  sessions.serving = false
  t.equal((await refusal(client.authenticateAndLogin({ email, password: 'wrong password' }))).code, Code.Unavailable)
  sessions.serving = true
  t.ok(rejected(await refusal(client.authenticateAndLogin({ email, password: 'wrong password' }))))
})

t.test('a successful log-in renews a hash from elsewhere or of another cost', async (t) => {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const id = user?.id as string
  for (const stored of [hashSync(password, { cost: 5 }), hashSync(password, { cost: 4, version: '2a' })]) {
    await sql`update users set password_hash = ${stored} where id = ${id}`
    t.ok(rejected(await refusal(client.authenticateAndLogin({ email, password: 'wrong password' }))))
    t.equal((await sql`select password_hash from users where id = ${id}`)[0]?.password_hash, stored)
    await client.authenticateAndLogin({ email, password })
    t.match((await sql`select password_hash from users where id = ${id}`)[0]?.password_hash, /^hs384:-:\$2b\$04\$/)
  }
})

t.test('a damaged or planted hash is a server error, not a wrong password', async (t) => {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  for (const stored of [
    '',
    'x',
    '$2b$18$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde',
    'hs384:gone:$2b$04$x'
  ]) {
    await sql`update users set password_hash = ${stored} where id = ${user?.id as string}`
    const error = await refusal(client.authenticateAndLogin({ email, password }))
    t.equal(error.code, Code.Internal)
    t.equal(error.rawMessage, 'Internal error.')
  }
})

t.test('log-out ends the session and needs no account', async (t) => {
  const { token } = await client.registerAndLogin({ email: newAddress(), password })
  await client.logout({ token })
  await client.logout({ token })
  t.equal(sessions.live.size, 0)
  t.equal((await refusal(client.logout({ token: 'garbage' }))).code, Code.InvalidArgument)
})

t.test('a deletion removes the row and its sessions, leaves an event, and can be asked for again', async (t) => {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  const userId = user?.id as string
  sessions.failure = unavailable('down')
  t.equal((await refusal(client.deleteAccount({ userId }))).code, Code.DeadlineExceeded, 'not: certainly not done')
  t.equal((await sql`select from users where id = ${userId}`).length, 0)
  t.equal(sessions.live.size, 1, 'interrupted before the sessions ended')
  sessions.failure = undefined
  await client.deleteAccount({ userId })
  await client.deleteAccount({ userId })
  t.equal(sessions.live.size, 0)
  t.equal(sessions.lowestEpochs.get(userId), 1n)
  t.match(await sql`select type, session_epoch from outbox where user_id = ${userId}`, [{ type: 'user.deleted' }])
  t.ok(rejected(await refusal(client.authenticateAndLogin({ email, password }))))
  t.ok((await client.registerAndLogin({ email, password })).token, 'the address is free again')
})

t.test(
  'a deletion of an account that the database does not know, as after a restored backup, ends its sessions',
  async (t) => {
    const email = newAddress()
    const { user } = await client.registerAndLogin({ email, password })
    const userId = user?.id as string
    await sql`delete from users where id = ${userId}`
    await client.deleteAccount({ userId })
    t.notOk([...sessions.live.values()].includes(userId))
  }
)
