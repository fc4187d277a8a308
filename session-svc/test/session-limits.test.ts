/** The sessions of one account: how many it may have, which ones a new one ends, and how long their key is kept. */

import t from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { keepMs } from '../scripts.ts'
import { ageSession, sessionsKey, storedValue, storeValue } from './aged-session.ts'
import { newUser, startSessionSvc } from './service.ts'
import { sessionCalls } from './session-calls.ts'

const service = await startSessionSvc(t)
const { client, redis } = service
const { create, outcome } = sessionCalls(client)

t.test('each session that a new one ends has an audit line', async (t) => {
  const lines: string[] = []
  const log = createLogger('session-svc', 'info', { write: (line) => void lines.push(line) })
  const { client: narrow } = await startSessionSvc(t, { maxPerUser: 2 }, log)
  const [userId, otherId] = [newUser(), newUser()]
  const newSession = async (user: string, replacesToken?: string) => {
    const { session, token } = await narrow.createSession({ userId: user, ...(replacesToken && { replacesToken }) })
    return { id: session?.id, token }
  }
  const first = await newSession(userId)
  const second = await newSession(userId, first.token)
  const other = await newSession(otherId, second.token)
  await newSession(userId, first.token)
  await newSession(userId, other.token.slice(0, -40) + first.token.slice(-40))
  const third = await newSession(otherId)
  await newSession(otherId, third.token)
  const oldest = await newSession(otherId)
  const ended = lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'session_ended')
  t.match(ended, [
    { userId, sessionId: first.id, reason: 'replaced' },
    { userId, sessionId: second.id, reason: 'replaced' },
    { userId: otherId, sessionId: third.id, reason: 'replaced' },
    { userId: otherId, sessionId: other.id, reason: 'too_many' }
  ])
  t.equal(ended.length, 4, 'a token without a session ends none')
  t.equal(await outcome(oldest.token), 'session')
})

t.test('a session above the limit of the account ends the oldest one, ended sessions first', async (t) => {
  const { client: narrow } = await startSessionSvc(t, { maxPerUser: 3 })
  const userId = newUser()
  const tokens: string[] = []
  for (let count = 0; count < 4; count += 1) {
    const { token } = await narrow.createSession({ userId })
    await ageSession(service, token, { createdMs: 4000 - 1000 * count, usedMs: 0 })
    tokens.push(token)
  }
  t.same(await Promise.all(tokens.map((token) => outcome(token))), ['NOT_FOUND', 'session', 'session', 'session'])
  await storeValue(service, tokens[3] ?? '', '0 1 1 1')
  await narrow.createSession({ userId })
  t.same(await Promise.all(tokens.map((token) => outcome(token))), ['NOT_FOUND', 'session', 'session', 'NOT_FOUND'])
})

t.test('a lowered limit ends all surplus sessions of an account at its next login', async (t) => {
  const userId = newUser()
  const { token } = await create(userId)
  const value = String(await storedValue(service, token))
  const hashes = Array.from({ length: 10_000 }, (_, index) => String(index).padStart(43, '0'))
  await Promise.all(hashes.map((hash) => redis.hSet(sessionsKey(userId), hash, value)))
  const lines: string[] = []
  const log = createLogger('session-svc', 'info', { write: (line) => void lines.push(line) })
  const { client: narrow } = await startSessionSvc(t, { maxPerUser: 100 }, log)
  const created = await narrow.createSession({ userId })
  t.equal(await outcome(created.token), 'session')
  t.equal(await redis.hLen(sessionsKey(userId)), 100)
  t.equal(lines.filter((line) => line.includes('too_many')).length, 9902)
})

t.test('ended sessions are swept when the number of sessions doubles', async (t) => {
  const userId = newUser()
  for (let count = 0; count < 8; count++) {
    const { token } = await create(userId)
    if (count < 7) await storeValue(service, token, '0 1 1 1')
  }
  const { token } = await create(userId)
  t.equal(await redis.hLen(sessionsKey(userId)), 2)
  t.equal(await outcome(token), 'session')
})

t.test('the key of a user outlasts its sessions by a day at most, and is deleted with the last session', async (t) => {
  const userId = newUser()
  const { client: brief } = await startSessionSvc(t, { idleTimeout: 1000, lifetime: 3 * keepMs })
  const { token } = await brief.createSession({ userId })
  const ttl = await redis.pTTL(sessionsKey(userId))
  t.ok(ttl > keepMs - 5000 && ttl <= keepMs + 1000, `${ttl} ms`)
  const { client: long } = await startSessionSvc(t, { idleTimeout: 2 * keepMs, lifetime: 3 * keepMs })
  await long.createSession({ userId })
  const longer = await redis.pTTL(sessionsKey(userId))
  t.ok(longer > 2 * keepMs - 5000 && longer <= 2 * keepMs + 1000, `${longer} ms`)
  await create(userId)
  t.ok((await redis.pTTL(sessionsKey(userId))) > 2 * keepMs - 5000, 'a shorter one does not shorten it')
  for (const { id } of (await client.listSessions({ userId })).sessions) {
    await client.deleteSession({ target: { case: 'reference', value: { userId, sessionId: id } } })
  }
  t.equal(await redis.exists(sessionsKey(userId)), 0)
  t.equal(await outcome(token), 'NOT_FOUND')
})
