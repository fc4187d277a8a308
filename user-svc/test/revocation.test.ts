/** Logins of accounts whose sessions were revoked by RPC, on the real PostgreSQL: each retries within its bounds. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { invalidFields, reasonMetadata } from '#common/errors/connect-errors.ts'
import { maxEpoch } from '#common/session/session-epoch.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { startUserSvc } from './service.ts'

const { client, sql, sessions } = await startUserSvc(t)
const password = 'correct horse battery staple'
let count = 0

async function account() {
  const email = `revoked${++count}@example.org`
  const { user } = await client.registerAndLogin({ email, password })
  sessions.live.clear()
  return { email, userId: user?.id as string, login: () => client.authenticateAndLogin({ email, password }) }
}

const epochOf = async (userId: string) =>
  (await sql`select session_epoch from users where id = ${userId}`)[0]?.session_epoch

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => {
      throw new Error('it succeeded')
    },
    (error) => ConnectError.from(error)
  )
}

/** Before each of the next session creations, does the next of these; counts the creations. */
function beforeCreations(...acts: (() => Promise<unknown> | unknown)[]): () => number {
  let creations = 0
  sessions.beforeCreate = async () => void (await acts[creations++]?.())
  return () => creations
}

t.beforeEach(() => {
  Object.assign(sessions, { failure: undefined, beforeCreate() {} })
})

fieldCase(t, 24, 'the first correct login after a revocation by RPC succeeds', async (t) => {
  const { userId, login } = await account()
  for (const epoch of [7n, maxEpoch]) {
    sessions.lowestEpochs.set(userId, epoch)
    t.ok((await login()).token)
    t.equal(await epochOf(userId), String(epoch))
  }
})

fieldCase(t, 24, 'a login whose sessions are revoked again during its retries retries three times', async (t) => {
  const { userId, login } = await account()
  const revoke = () => sessions.lowestEpochs.set(userId, (sessions.lowestEpochs.get(userId) ?? 0n) + 1n)
  const creations = beforeCreations(revoke, revoke, revoke)
  t.ok((await login()).token)
  t.equal(creations(), 4)
  const more = beforeCreations(revoke, revoke, revoke, revoke, revoke)
  t.equal((await failure(login())).code, Code.Unavailable)
  t.equal(more(), 4, 'the retries are bounded')
  t.equal(sessions.live.size, 1, 'only the first login left a session')
})

fieldCase(t, 24, 'an account that is deleted during the retry gets no session', async (t) => {
  const { userId, login } = await account()
  sessions.lowestEpochs.set(userId, 5n)
  beforeCreations(() => client.deleteAccount({ userId }))
  t.ok(reasonMetadata(await failure(login()), 'user.v1', 'CREDENTIALS_REJECTED'))
  const late = await account()
  sessions.lowestEpochs.set(late.userId, 5n)
  beforeCreations(
    () => {},
    () => client.deleteAccount({ userId: late.userId })
  )
  t.ok(
    reasonMetadata(await failure(late.login()), 'user.v1', 'CREDENTIALS_REJECTED'),
    'also after the epoch is adopted'
  )
  t.equal(sessions.live.size, 0)
})

fieldCase(t, 24, 'a password that is changed during the retry ends it', async (t) => {
  const { userId, login } = await account()
  sessions.lowestEpochs.set(userId, 5n)
  beforeCreations(() => sql`update users set password_hash = 'another' where id = ${userId}`)
  t.equal((await failure(login())).code, Code.Unavailable)
  t.equal(await epochOf(userId), '0')
})

fieldCase(t, 22, 'an upstream that rejects an internal field is an internal error', async (t) => {
  for (const code of [Code.InvalidArgument, Code.FailedPrecondition, Code.NotFound, Code.ResourceExhausted]) {
    const { userId, login, email } = await account()
    const rejected = invalidFields([{ field: 'epoch', description: 'must be from 0 to 1' }])
    sessions.failure = code === Code.InvalidArgument ? rejected : new ConnectError('epoch', code)
    const register = () => client.registerAndLogin({ email: `new-${email}`, password })
    for (const call of [login, register, () => client.deleteAccount({ userId })]) {
      const error = await failure(call())
      t.equal(error.code, Code.Internal)
      t.notMatch(error.message, /epoch/)
    }
    sessions.failure = undefined
  }
})

fieldCase(t, 22, 'an account whose row has the highest epoch can be deleted', async (t) => {
  const { userId, login } = await account()
  await sql`update users set session_epoch = ${String(2n ** 63n - 1n)} where id = ${userId}`
  await client.deleteAccount({ userId })
  t.match(await sql`select session_epoch from outbox where user_id = ${userId}`, [{ session_epoch: String(2n ** 52n) }])
  t.ok(reasonMetadata(await failure(login()), 'user.v1', 'CREDENTIALS_REJECTED'))
})
