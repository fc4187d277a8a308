/** Login over gRPC on the real PostgreSQL. */

import { Code } from '@connectrpc/connect'
import { hashSync } from '@node-rs/bcrypt'
import t from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { parseToken } from '#common/session/session-token.ts'
import { hasRejectedCredentials, newAddress, password, rejection, startAccountTests } from './account-tests.ts'

const { client, sql, sessions, hashes } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  return { email, userId: user?.id as string }
}

t.test('answers a wrong address and a wrong password alike', async (t) => {
  const { email } = await newAccount()
  const errors = [
    await rejection(client.authenticateAndLogin({ email, password: 'wrong password' })),
    await rejection(client.authenticateAndLogin({ email: newAddress(), password })),
    await rejection(client.authenticateAndLogin({ email, password: 'x'.repeat(5000) })),
    await rejection(client.authenticateAndLogin({ email, password: '' })),
    await rejection(client.authenticateAndLogin({ email, password: `${password}\0` }))
  ]
  for (const error of errors) {
    t.equal(error.code, Code.Unauthenticated)
    t.ok(hasRejectedCredentials(error))
    t.equal(error.rawMessage, errors[0]?.rawMessage)
  }
})

t.test('while session-svc is unavailable, hashes nothing and answers 503, also to a wrong password', async (t) => {
  const { email } = await newAccount()
  sessions.serving = false
  sessions.failure = unavailable('down')
  // The session of the registration is recent, so the first login finds out that session-svc is down.
  t.equal((await rejection(client.authenticateAndLogin({ email, password }))).code, Code.Unavailable)
  const before = await hashes()
  for (const each of [password, 'wrong password']) {
    t.equal((await rejection(client.authenticateAndLogin({ email, password: each }))).code, Code.Unavailable)
  }
  t.equal(await hashes(), before)
})

t.test('a wrong password is 503 while no session can be created, even if that was unknown before', async (t) => {
  const { email } = await newAccount()
  sessions.serving = false
  t.equal((await rejection(client.authenticateAndLogin({ email, password: 'wrong password' }))).code, Code.Unavailable)
  sessions.serving = true
  t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password: 'wrong password' }))))
})

t.test('renews an imported hash and one of another cost, after a correct password only', async (t) => {
  const { email, userId } = await newAccount()
  const storedHash = async () => (await sql`select password_hash from users where id = ${userId}`)[0]?.password_hash
  for (const stored of [hashSync(password, { cost: 5 }), hashSync(password, { cost: 4, version: '2a' })]) {
    await sql`update users set password_hash = ${stored} where id = ${userId}`
    t.ok(hasRejectedCredentials(await rejection(client.authenticateAndLogin({ email, password: 'wrong password' }))))
    t.equal(await storedHash(), stored)
    await client.authenticateAndLogin({ email, password })
    t.match(await storedHash(), /^hs384:-:\$2b\$04\$/)
  }
})

t.test('a damaged or planted hash is a server error, not a wrong password', async (t) => {
  const { email, userId } = await newAccount()
  const tooExpensive = '$2b$18$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde'
  for (const stored of ['', 'x', tooExpensive, 'hs384:gone:$2b$04$x']) {
    await sql`update users set password_hash = ${stored} where id = ${userId}`
    const error = await rejection(client.authenticateAndLogin({ email, password }))
    t.equal(error.code, Code.Internal)
    t.equal(error.rawMessage, 'Internal error.')
  }
})

t.test('the user agent reaches the session', async (t) => {
  const { email } = await newAccount()
  const { token } = await client.authenticateAndLogin({ email, password, userAgent: 'Firefox' })
  t.equal(sessions.created.get(parseToken(token)?.hash ?? '')?.userAgent, 'Firefox')
})
