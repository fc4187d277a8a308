/** The stored form of sessions: every version is readable, beside the previous release and beside the next one. */

import t, { type Test } from 'tap'
import { connectRedis } from '#common/redis/connection.ts'
import { type ParsedToken, parseToken } from '#common/session/session-token.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createSessions } from '../sessions.ts'
import { parseStoredSession } from '../stored-session.ts'
import { agentsKey } from '../user-agents.ts'
import { ageSession, createAged, hashOf, sessionsKey, storedSession, storedValue, storeValue } from './aged-session.ts'
import { previousScripts } from './previous-scripts.ts'
import { newUser, rules, startSessionSvc } from './service.ts'

const service = await startSessionSvc(t)
const { client, redis } = service
const minute = 60_000
const outcome = async (token: string) => (await client.validateSession({ token })).result.case

const parsed = (token: string) => parseToken(token) as ParsedToken

/** The operations of the previous release, on the same Redis. */
async function previousRelease(t: Test) {
  const connection = connectRedis(engineAddress('TEST_REDIS_URL'), silentLog, previousScripts)
  t.teardown(() => connection.destroy())
  await until('Redis is connected', () => connection.isReady)
  const sessions = createSessions(connection, rules, silentLog)
  return { connection, sessions, signal: AbortSignal.timeout(60_000) }
}

t.test('parses version 1, without a version, and the four numbers of later versions', async (t) => {
  const numbers = { epoch: 1, createdAt: 2, lastSeenAt: 3, expiresAt: 4 }
  t.same(parseStoredSession('1 2 3 4'), { version: 1, ...numbers })
  t.same(parseStoredSession('1 2 3 4 2'), { version: 2, ...numbers })
  t.same(parseStoredSession('1 2 3 4 10 Mozilla/5.0 (X11)\n5'), { version: 10, ...numbers })
})

t.test('a value in another form is malformed', async (t) => {
  for (const value of [
    '',
    '1 2 3',
    '1 2 3 x',
    '1 2 3 4 ',
    '1 2 3 4x',
    '1 2 3 4 v2',
    ' 1 2 3 4',
    '1  2 3 4',
    '-1 2 3 4'
  ]) {
    t.equal(parseStoredSession(value), undefined, JSON.stringify(value))
  }
})

t.test('this release writes four numbers, which the scripts of the previous release match', async (t) => {
  const token = await createAged(service, newUser(), { createdMs: 0, usedMs: 0 })
  t.match(await storedValue(service, token), /^\d+ \d+ \d+ \d+$/)
  await ageSession(service, token, { createdMs: minute / 2, usedMs: minute / 2 })
  const aged = await storedValue(service, token)
  t.equal(await outcome(token), 'session')
  await until('the use is written', async () => (await storedValue(service, token)) !== aged)
  t.match(await storedValue(service, token), /^\d+ \d+ \d+ \d+$/)
})

t.test('a session that the previous release created is validated, listed, used and revoked', async (t) => {
  const { sessions, signal } = await previousRelease(t)
  const userId = newUser()
  const { token } = await sessions.createSession(userId, 0n, {}, signal)
  t.equal(await outcome(token), 'session')
  t.equal((await client.listSessions({ userId })).sessions.length, 1)
  await ageSession(service, token, { createdMs: minute / 2, usedMs: minute / 2 })
  const aged = await storedValue(service, token)
  t.equal(await outcome(token), 'session')
  await until('the use is written', async () => (await storedValue(service, token)) !== aged)
  t.match(await client.deleteUserSessions({ userId, epoch: 1n }), { epoch: 1n, endedSessions: 1 })
  t.equal(await outcome(token), 'invalid')
})

t.test('the previous release uses, sweeps and revokes sessions that this release created', async (t) => {
  const { connection, sessions, signal } = await previousRelease(t)
  const userId = newUser()
  const tokens = await Promise.all(
    Array.from({ length: 8 }, () => createAged(service, userId, { createdMs: 3000, usedMs: 3000 }))
  )
  const [used, ended] = tokens as [string, string]
  const { lastSeenAt } = await storedSession(service, used)
  const touch = [hashOf(used), String(lastSeenAt + 1000), String(rules.idleTimeout), String(rules.lifetime)] as const
  t.equal(await connection.touchSession([sessionsKey(userId)], ...touch), 1)
  t.equal((await storedSession(service, used)).lastSeenAt, lastSeenAt + 1000)
  await storeValue(service, ended, '0 1 1 1')
  await sessions.createSession(userId, 0n, {}, signal)
  t.equal(await redis.hLen(sessionsKey(userId)), 8, 'the ended session is swept')
  t.match(await sessions.revoke(userId, { epoch: 0n, all: true }, signal), { ended: 8 })
  t.equal(await outcome(used), 'invalid')
})

t.test('a value of a later version is validated, and a use keeps its further fields', async (t) => {
  const userId = newUser()
  const token = await createAged(service, userId, { createdMs: minute / 2, usedMs: minute / 2 })
  const value = `${await storedValue(service, token)} 2 Mozilla/5.0 (X11) 1`
  await storeValue(service, token, value)
  t.equal(await outcome(token), 'session')
  await until('the use is written', async () => (await storedValue(service, token)) !== value)
  t.match(await storedValue(service, token), /^\d+ \d+ \d+ \d+ 2 Mozilla\/5\.0 \(X11\) 1$/)
  t.equal((await client.listSessions({ userId })).sessions.length, 1)
})

t.test('values of a later version are swept and revoked', async (t) => {
  const userId = newUser()
  const tokens: string[] = []
  for (let count = 0; count < 8; count += 1) {
    const token = await createAged(service, userId, { createdMs: 0, usedMs: 0 })
    await storeValue(service, token, count < 7 ? '0 1 1 1 2 x' : `${await storedValue(service, token)} 2 x`)
    tokens.push(token)
  }
  await client.createSession({ userId })
  t.equal(await redis.hLen(sessionsKey(userId)), 2, 'the seven ended sessions are swept')
  t.match(await client.deleteUserSessions({ userId }), { endedSessions: 2 })
  t.equal(await outcome(tokens[7] as string), 'invalid')
})

t.test('the previous release ends, sweeps and revokes sessions that have user agents', async (t) => {
  const { sessions, signal } = await previousRelease(t)
  const userId = newUser()
  const agents = async () => Object.values(await redis.hGetAll(agentsKey(userId))).sort()
  const login = async (userAgent: string) => (await client.createSession({ userId, userAgent })).token
  const [first, second] = [await login('a'), await login('b')]
  await sessions.deleteSession(parsed(first), signal)
  t.same(
    (await client.listSessions({ userId })).sessions.map(({ userAgent }) => userAgent),
    ['b']
  )
  await sessions.deleteSession(parsed(second), signal)
  t.same(await agents(), ['a', 'b'], 'it does not know the key')
  const third = await login('c')
  t.same(await agents(), ['c'], 'the next login removes them')
  t.equal(await outcome((await sessions.createSession(userId, 0n, { userAgent: 'd' }, signal)).token), 'session')
  t.same((await client.listSessions({ userId })).sessions.map(({ userAgent }) => userAgent).sort(), ['', 'c'])
  t.match(await sessions.revoke(userId, { epoch: 1n, all: false }, signal), { ended: 2 })
  t.equal(await outcome(third), 'invalid')
})

t.test('the previous release uses a session that a revocation of this release kept', async (t) => {
  const { connection, sessions, signal } = await previousRelease(t)
  const userId = newUser()
  const { token, session } = await client.createSession({ userId })
  await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: session?.id ?? '' })
  const touch = [hashOf(token), String(Date.now() + 1000), String(rules.idleTimeout), String(rules.lifetime)] as const
  t.equal(await connection.touchSession([sessionsKey(userId)], ...touch), 1)
  t.equal((await storedSession(service, token)).epoch, 1)
  t.match(await sessions.revoke(userId, { epoch: 1n, all: false }, signal), { ended: 0 })
  t.equal(await outcome(token), 'session')
})
