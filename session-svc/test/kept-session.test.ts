/** A revocation that keeps one session: it survives, all others end, and no race or retry changes that. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { sessionId } from '#common/session/session-token.ts'
import { agentsKey } from '../user-agents.ts'
import { createAged, epochKey, hashOf, sessionsKey, storedSession, storeValue } from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'

const service = await startSessionSvc(t)
const { client, redis, store } = service
const rounds = 25

async function create(userId: string, epoch = 0n) {
  const { session, token } = await client.createSession({ userId, epoch })
  return { token, id: session?.id ?? '' }
}

const isValid = async ({ token }: { token: string }) =>
  (await client.validateSession({ token })).result.case === 'session'

t.test('the kept session gets the new epoch, and all others end', async (t) => {
  const userId = newUser()
  const [first, kept, last] = [await create(userId), await create(userId), await create(userId)]
  const response = await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: kept.id })
  t.match(response, { epoch: 1n, endedSessions: 2 })
  t.same(await Promise.all([first, kept, last].map(isValid)), [false, true, false])
  t.equal((await storedSession(service, kept.token)).epoch, 1)
  const { sessions } = await client.listSessions({ userId, currentSessionId: kept.id })
  t.match(sessions, [{ id: kept.id, current: true }])
  t.equal(sessions.length, 1)
  await t.rejects(create(userId, 0n), { code: Code.FailedPrecondition })
  const next = await create(userId, 1n)
  t.match(await client.deleteUserSessions({ userId, epoch: 2n }), { endedSessions: 2 })
  t.same(await Promise.all([kept, next].map(isValid)), [false, false], 'a later revocation ends it')
})

t.test('only the epoch of the kept session changes', async (t) => {
  const userId = newUser()
  const kept = await create(userId, 3n)
  const value = `${(await redis.hGetAll(sessionsKey(userId)))[hashOf(kept.token)]} 2 a later field`
  await storeValue(service, kept.token, value)
  await client.deleteUserSessions({ userId, epoch: 7n, keptSessionId: kept.id })
  t.equal((await redis.hGetAll(sessionsKey(userId)))[hashOf(kept.token)], value.replace(/^3 /, '7 '))
})

t.test('a repeated call ends nothing, whichever session it names', async (t) => {
  const userId = newUser()
  const kept = await create(userId)
  await create(userId)
  await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: kept.id })
  const later = await create(userId, 1n)
  for (const keptSessionId of [kept.id, later.id, 'x'.repeat(22), '']) {
    for (const epoch of [1n, 1n]) {
      t.match(await client.deleteUserSessions({ userId, epoch, keptSessionId }), { epoch: 1n, endedSessions: 0 })
    }
  }
  t.same(await Promise.all([kept, later].map(isValid)), [true, true])
})

t.test('a call that is late, after a higher revocation, neither ends nor keeps a session', async (t) => {
  const userId = newUser()
  const old = await create(userId, 1n)
  await client.deleteUserSessions({ userId, epoch: 3n })
  const current = await create(userId, 3n)
  t.match(await client.deleteUserSessions({ userId, epoch: 2n, keptSessionId: old.id }), { epoch: 3n })
  t.match(await client.deleteUserSessions({ userId, epoch: 3n, keptSessionId: old.id }), { epoch: 3n })
  t.same(await Promise.all([old, current].map(isValid)), [false, true])
})

t.test('a stale, foreign or revoked session is not kept', async (t) => {
  const [userId, other] = [newUser(), newUser()]
  const [stale, foreign, revoked] = [await create(userId), await create(other), await create(userId)]
  await client.deleteSession({ target: { case: 'token', value: stale.token } })
  await client.deleteUserSessions({ userId, epoch: 1n })
  let epoch = 1n
  for (const keptSessionId of [stale.id, foreign.id, revoked.id, 'x'.repeat(22)]) {
    const session = await create(userId, epoch)
    epoch += 1n
    t.match(await client.deleteUserSessions({ userId, epoch, keptSessionId }), { epoch, endedSessions: 1 })
    t.same(await Promise.all([session, stale, revoked, foreign].map(isValid)), [false, false, false, true])
  }
  t.equal((await storedSession(service, foreign.token)).epoch, 0, 'that of another user is unchanged')
})

t.test('a session past its lifetime is not kept', async (t) => {
  const userId = newUser()
  const token = await createAged(service, userId, { createdMs: rules.lifetime, usedMs: 0 })
  const { sessions } = await client.listSessions({ userId })
  t.equal(sessions.length, 0)
  const keptSessionId = sessionId(hashOf(token))
  t.match(await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId }), { endedSessions: 0 })
  t.equal((await storedSession(service, token)).epoch, 0)
})

t.test('a kept session whose last use is not written yet is valid when it is written', async (t) => {
  const userId = newUser()
  const { token, id } = await create(userId)
  const { createdAt, expiresAt } = await storedSession(service, token)
  const idleSince = createdAt - rules.idleTimeout
  await storeValue(service, token, `0 ${idleSince} ${idleSince} ${expiresAt}`)
  await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: id })
  t.notOk(await isValid({ token }), 'a higher epoch alone does not make an idle session valid')
  const touch = [hashOf(token), String(createdAt), String(rules.idleTimeout), String(rules.lifetime)] as const
  await store.redis.touchSession([sessionsKey(userId), agentsKey(userId)], ...touch)
  t.ok(await isValid({ token }))
})

t.test('the epoch of a kept session is not lowered', async (t) => {
  const userId = newUser()
  const kept = await create(userId, 5n)
  t.match(await client.deleteUserSessions({ userId, epoch: 2n, keptSessionId: kept.id }), { endedSessions: 0 })
  t.equal((await storedSession(service, kept.token)).epoch, 5)
  t.ok(await isValid(kept))
})

t.test('a kept session of a revocation of all sessions is invalid_argument, and nothing ends', async (t) => {
  const userId = newUser()
  const kept = await create(userId)
  for (const request of [{ epoch: 1n, all: true }, { epoch: 0n }, { epoch: 0n, all: true }]) {
    const call = client.deleteUserSessions({ userId, ...request, keptSessionId: kept.id })
    await t.rejects(call, { code: Code.InvalidArgument, message: /kept_session_id/ })
  }
  for (const keptSessionId of ['x', 'x'.repeat(23), kept.token, `${kept.id}\n`]) {
    const call = client.deleteUserSessions({ userId, epoch: 1n, keptSessionId })
    await t.rejects(call, { code: Code.InvalidArgument, message: /kept_session_id/ })
  }
  t.ok(await isValid(kept))
  t.equal(await redis.exists(epochKey(userId)), 0)
})

/** Creates a session; undefined if its epoch has been raised. */
const tryCreate = (userId: string, epoch: bigint) =>
  create(userId, epoch).catch((error) => {
    if (ConnectError.from(error).code !== Code.FailedPrecondition) throw error
    return undefined
  })

/** Logs in and uses the kept session until the revocation is done, without a pause. */
async function callDuring(userId: string, kept: { token: string }, revocation: Promise<unknown>) {
  let isDone = false
  void revocation.finally(() => (isDone = true))
  const logins: Promise<Awaited<ReturnType<typeof tryCreate>>>[] = []
  const uses: Promise<boolean>[] = []
  for (let wave = 0; !isDone; wave += 1) {
    const calls = [tryCreate(userId, 0n), tryCreate(userId, 0n)]
    const use = isValid(kept)
    logins.push(...calls)
    uses.push(use)
    // Some waves overlap.
    if (wave % 3 === 2) await Promise.all([...calls, use])
  }
  return { logins: await Promise.all(logins), uses: await Promise.all(uses) }
}

t.test('logins, uses and retries that race a revocation: only the kept session survives', async (t) => {
  let [created, refused] = [0, 0]
  for (let round = 0; round < rounds; round += 1) {
    const userId = newUser()
    // After a tenth of the idle timeout, each use is written.
    const token = await createAged(service, userId, { createdMs: rules.idleTimeout / 2, usedMs: rules.idleTimeout / 2 })
    const kept = { token, id: sessionId(hashOf(token)) }
    const earlier = await Promise.all([create(userId), create(userId)])
    const revoke = () => client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: kept.id })
    const { logins, uses } = await callDuring(userId, kept, Promise.all([revoke(), revoke()]))
    const late = logins.filter((session) => session !== undefined)
    t.notOk(uses.includes(false), 'the kept session is valid at all times')
    const survivors = (await Promise.all([...earlier, ...late].map(isValid))).filter(Boolean)
    t.equal(survivors.length, 0, `round ${round}: ${late.length} of ${logins.length} logins came before the revocation`)
    t.ok(await isValid(kept))
    created += late.length
    refused += logins.length - late.length
  }
  t.ok(created > 0 && refused > 0, `${created} logins came before a revocation, ${refused} after it`)
})

t.test('of two revocations at once that keep different sessions, the higher epoch decides', async (t) => {
  let kept = 0
  for (let round = 0; round < rounds; round += 1) {
    const userId = newUser()
    const [low, high] = [await create(userId), await create(userId)]
    const calls = [
      { epoch: 1n, keptSessionId: low.id },
      { epoch: 2n, keptSessionId: high.id }
    ]
    if (round % 2 === 1) calls.reverse()
    await Promise.all(calls.map((call) => client.deleteUserSessions({ userId, ...call })))
    t.notOk(await isValid(low), 'the session that the lower epoch kept')
    if (await isValid(high)) kept += 1
  }
  t.ok(kept > 0, `the higher epoch came first, and kept its session, in ${kept} of ${rounds} rounds`)
})
