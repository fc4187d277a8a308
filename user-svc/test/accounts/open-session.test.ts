/** Logins during a revocation by RPC, on the real PostgreSQL. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { invalidFields } from '#common/errors/connect-errors.ts'
import { maxEpoch } from '#common/session/session-epoch.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import {
  hasRejectedCredentials,
  newAddress,
  password,
  reasonOf,
  rejection,
  startAccountTests
} from './account-tests.ts'

const { client, sql, sessions } = await startAccountTests(t)

async function newAccount() {
  const email = newAddress()
  const { user } = await client.registerAndLogin({ email, password })
  sessions.live.clear()
  return { email, userId: user?.id as string, logIn: () => client.authenticateAndLogin({ email, password }) }
}

const epochOf = async (userId: string) =>
  (await sql`select session_epoch from users where id = ${userId}`)[0]?.session_epoch

/** Runs one of these before each of the next session creations. @returns the number of creations */
function beforeCreations(...acts: (() => Promise<unknown> | unknown)[]): () => number {
  let creations = 0
  sessions.beforeCreate = async () => void (await acts[creations++]?.())
  return () => creations
}

fieldCase(t, 24, 'the first correct login after a revocation by RPC succeeds', async (t) => {
  const { userId, logIn } = await newAccount()
  for (const epoch of [7n, maxEpoch]) {
    sessions.lowestEpochs.set(userId, epoch)
    t.ok((await logIn()).token)
    t.equal(await epochOf(userId), String(epoch))
  }
})

fieldCase(t, 24, 'a login whose sessions are revoked again during its retries retries three times', async (t) => {
  const { userId, logIn } = await newAccount()
  const revoke = () => sessions.lowestEpochs.set(userId, (sessions.lowestEpochs.get(userId) ?? 0n) + 1n)
  const creations = beforeCreations(revoke, revoke, revoke)
  t.ok((await logIn()).token)
  t.equal(creations(), 4)
  const more = beforeCreations(revoke, revoke, revoke, revoke, revoke)
  t.equal((await rejection(logIn())).code, Code.Unavailable)
  t.equal(more(), 4, 'the retries are bounded')
  t.equal(sessions.live.size, 1, 'only the first login left a session')
})

fieldCase(t, 24, 'an account that is deleted during the retry gets no session', async (t) => {
  const early = await newAccount()
  sessions.lowestEpochs.set(early.userId, 5n)
  beforeCreations(() => client.deleteAccount({ userId: early.userId }))
  t.ok(hasRejectedCredentials(await rejection(early.logIn())))
  const late = await newAccount()
  sessions.lowestEpochs.set(late.userId, 5n)
  beforeCreations(
    () => {},
    () => client.deleteAccount({ userId: late.userId })
  )
  t.ok(hasRejectedCredentials(await rejection(late.logIn())), 'also after the epoch was adopted')
  t.equal(sessions.live.size, 0)
})

fieldCase(t, 24, 'a password that is changed during the retry ends it', async (t) => {
  const { userId, logIn } = await newAccount()
  sessions.lowestEpochs.set(userId, 5n)
  beforeCreations(() => sql`update users set password_hash = 'another' where id = ${userId}`)
  t.equal((await rejection(logIn())).code, Code.Unavailable)
  t.equal(await epochOf(userId), '0')
})

t.test('an account that is disabled during the retry gets no session', async (t) => {
  const { userId, logIn } = await newAccount()
  sessions.lowestEpochs.set(userId, 5n)
  beforeCreations(() => sql`update users set disabled_at = now() where id = ${userId}`)
  t.equal(reasonOf(await rejection(logIn())), 'ACCOUNT_DISABLED')
  t.equal(await epochOf(userId), '0')
  t.equal(sessions.live.size, 0)
})

fieldCase(t, 22, 'an upstream that rejects an internal field is an internal error', async (t) => {
  for (const code of [Code.InvalidArgument, Code.FailedPrecondition, Code.NotFound, Code.ResourceExhausted]) {
    const { userId, logIn, email } = await newAccount()
    const rejected = invalidFields([{ field: 'epoch', description: 'must be from 0 to 1' }])
    sessions.failure = code === Code.InvalidArgument ? rejected : new ConnectError('epoch', code)
    const register = () => client.registerAndLogin({ email: `new-${email}`, password })
    for (const call of [logIn, register, () => client.deleteAccount({ userId })]) {
      const error = await rejection(call())
      t.equal(error.code, Code.Internal)
      t.notMatch(error.message, /epoch/)
    }
    sessions.failure = undefined
  }
})
