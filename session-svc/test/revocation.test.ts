/** The revocation of all sessions of a user: its effect, and the bounds of epochs, over gRPC on a real Redis. */

import { ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { reasonMetadata } from '#common/errors/connect-errors.ts'
import { maxCreatedEpoch, maxEpoch, maxRevokedEpoch } from '#common/session/session-epoch.ts'
import { parseToken, uuidBytes } from '#common/session/session-token.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { newUser, startSessionSvc } from './service.ts'

const { client, redis } = await startSessionSvc(t)

const isValid = async (token: string) => (await client.validateSession({ token })).result.case === 'session'

/** Creates a session as user-svc does: after SESSION_EPOCH_RAISED, with the lowest valid epoch. */
async function login(userId: string, epoch = 0n): Promise<string> {
  try {
    return (await client.createSession({ userId, epoch })).token
  } catch (error) {
    const raised = reasonMetadata(ConnectError.from(error), 'session.v1', 'SESSION_EPOCH_RAISED')
    if (!raised) throw error
    return (await client.createSession({ userId, epoch: BigInt(raised.lowestEpoch ?? 0) })).token
  }
}

/** Asserts that the user can log in with the epoch, and that each revocation without an epoch ends the session. */
async function survivesRevocations(t: Test, userId: string, epoch: bigint): Promise<void> {
  for (let round = 0; round < 3; round++) {
    const token = await login(userId, epoch)
    t.ok(await isValid(token), `login ${round + 1}`)
    t.match(await client.deleteUserSessions({ userId }), { endedSessions: 1 })
    t.notOk(await isValid(token), `revocation ${round + 1}`)
  }
}

fieldCase(t, 22, 'a session of any accepted epoch ends by a revocation, and its user logs in again', async (t) => {
  for (const epoch of [0n, 1n, maxCreatedEpoch, maxRevokedEpoch, maxEpoch - 1n, maxEpoch]) {
    const userId = newUser()
    const { token } = await client.createSession({ userId, epoch })
    const { endedSessions } = await client.deleteUserSessions({ userId, epoch: maxRevokedEpoch })
    t.equal(endedSessions, 1, `the highest revocation ends a session of epoch ${epoch}`)
    t.notOk(await isValid(token))
    await survivesRevocations(t, userId, epoch)
  }
})

fieldCase(t, 22, 'the highest epoch that DeleteUserSessions accepts leaves the account usable', async (t) => {
  const userId = newUser()
  const error = await client.deleteUserSessions({ userId, epoch: maxEpoch }).catch(ConnectError.from)
  const named = BigInt(/to (\d+)/.exec((error as ConnectError).rawMessage)?.[1] ?? 0)
  await client.deleteUserSessions({ userId, epoch: named })
  await survivesRevocations(t, userId, 0n)
})

fieldCase(t, 22, 'epochs that an earlier version stored at the limit of a double are lowered', async (t) => {
  const userId = newUser()
  const tag = `{${uuidBytes(userId).toString('base64url')}}`
  const { token } = await client.createSession({ userId })
  const stored = (await redis.hGetAll(`s:${tag}`))[parseToken(token)?.hash ?? ''] ?? ''
  await redis.hSet(`s:${tag}`, parseToken(token)?.hash ?? '', stored.replace(/^0/, String(maxEpoch)))
  t.ok(await isValid(token))
  t.match(await client.deleteUserSessions({ userId }), { endedSessions: 1 })
  t.notOk(await isValid(token))
  await survivesRevocations(t, userId, maxEpoch)
})

fieldCase(t, 23, 'a revocation states the epoch that applies and the number of sessions that ended', async (t) => {
  const userId = newUser()
  const tokens = await Promise.all([login(userId, 5n), login(userId, 5n), login(userId, 3n)])
  t.match(await client.deleteUserSessions({ userId, epoch: 3n }), { epoch: 3n, endedSessions: 0 })
  t.match(await client.deleteUserSessions({ userId, epoch: 5n }), { epoch: 5n, endedSessions: 1 })
  t.match(await client.deleteUserSessions({ userId, epoch: 5n }), { epoch: 5n, endedSessions: 0 })
  t.same(await Promise.all(tokens.map(isValid)), [true, true, false])
  const { epoch, endedSessions } = await client.deleteUserSessions({ userId })
  t.equal(endedSessions, 2)
  t.same(await Promise.all(tokens.map(isValid)), [false, false, false])
  const late = await client.createSession({ userId, epoch: 5n }).catch(ConnectError.from)
  t.same(reasonMetadata(late, 'session.v1', 'SESSION_EPOCH_RAISED'), { lowestEpoch: String(epoch) })
})

fieldCase(t, 23, 'a revocation of all sessions ends those of a higher epoch than the given one', async (t) => {
  const userId = newUser()
  const token = await login(userId, 2n ** 51n)
  t.match(await client.deleteUserSessions({ userId, epoch: 2n }), { endedSessions: 0 })
  t.ok(await isValid(token))
  const { epoch, endedSessions } = await client.deleteUserSessions({ userId, epoch: 2n, all: true })
  t.equal(endedSessions, 1)
  t.notOk(await isValid(token))
  t.ok(epoch < 2n ** 51n, 'later revocations have epochs left')
})

fieldCase(t, 23, 'a user without sessions has none to end, and a login that began before is refused', async (t) => {
  const userId = newUser()
  // The account has an epoch that Redis does not know, as after a loss of its data.
  t.match(await client.deleteUserSessions({ userId }), { endedSessions: 0 })
  const late = await client.createSession({ userId, epoch: 41n }).catch(ConnectError.from)
  t.ok(reasonMetadata(late, 'session.v1', 'SESSION_EPOCH_RAISED'))
})
