/** User agents: their form, their place beside the session, and that none outlives its session. */

import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { sessionId } from '#common/session/session-token.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { until } from '#common/testing/until.ts'
import { keepMs } from '../scripts.ts'
import { agentsKey, cleanUserAgent } from '../user-agents.ts'
import {
  createAged,
  hashOf,
  type Service,
  sessionsKey,
  storedSession,
  storedValue,
  storeValue
} from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'
import { startOn } from './store-calls.ts'
import { userAgentForms } from './user-agent-forms.ts'

const service = await startSessionSvc(t)
const { client, redis } = service

async function create(userId: string, userAgent?: string, { client }: Pick<Service, 'client'> = service) {
  const { session, token } = await client.createSession({ userId, ...(userAgent !== undefined && { userAgent }) })
  if (!session) throw new Error('no session')
  return { session, token, id: session.id }
}

/** The stored user agents of a user, sorted. */
const storedAgents = async (userId: string, { redis }: Pick<Service, 'redis'> = service) =>
  Object.values(await redis.hGetAll(agentsKey(userId))).sort()

const listedAgents = async (userId: string) =>
  (await client.listSessions({ userId })).sessions.map(({ userAgent }) => userAgent)

const byToken = (token: string) => ({ target: { case: 'token' as const, value: token } })
const byId = (userId: string, id: string) => ({
  target: { case: 'reference' as const, value: { userId, sessionId: id } }
})

t.test('a user agent is cleaned, and a cleaned one is unchanged', async (t) => {
  for (const [name, text, cleaned] of userAgentForms) {
    t.equal(cleanUserAgent(text), cleaned, name)
    t.equal(cleanUserAgent(cleaned), cleaned, `${name}, again`)
  }
})

t.test('every text of random code units becomes short, well-formed and free of control characters', async (t) => {
  const units = [0x0, 0x1b, 0x41, 0x7f, 0x9b, 0x2028, 0x4e00, 0xd83d, 0xde00, 0xfffd]
  for (let round = 0; round < 2000; round += 1) {
    const length = Math.floor(Math.random() * 600)
    const text = String.fromCharCode(...Array.from({ length }, () => units[Math.floor(Math.random() * 10)] as number))
    const cleaned = cleanUserAgent(text)
    const isClean = cleaned.length <= 256 && cleaned.isWellFormed() && !/[\p{Cc}\u2028\u2029]/u.test(cleaned)
    if (!isClean) return void t.fail(JSON.stringify(text))
  }
})

t.test('a list has the cleaned user agent of each session', async (t) => {
  // Half a surrogate pair cannot be sent: protobuf strings are UTF-8.
  for (const [name, text, cleaned] of userAgentForms.filter(([, text]) => text.isWellFormed())) {
    const userId = newUser()
    await create(userId, text)
    t.same(await listedAgents(userId), [cleaned], name)
    t.equal(await redis.exists(agentsKey(userId)), cleaned === '' ? 0 : 1, name)
  }
})

t.test('a list has the newest session first, and marks the current one', async (t) => {
  const userId = newUser()
  const created = []
  for (const [index, userAgent] of ['first', undefined, 'third', 'fourth'].entries()) {
    const session = await create(userId, userAgent)
    // Other ages than the order of creation: the list has the order of `created_at`.
    const age = [3000, 1000, 4000, 2000][index] as number
    const { createdAt, expiresAt } = await storedSession(service, session.token)
    await storeValue(service, session.token, `0 ${createdAt - age} ${createdAt} ${expiresAt}`)
    created.push(session)
  }
  const { sessions } = await client.listSessions({ userId, currentSessionId: created[3]?.id ?? '' })
  t.same(
    sessions.map(({ userAgent, current }) => [userAgent, current]),
    [
      ['', false],
      ['fourth', true],
      ['first', false],
      ['third', false]
    ]
  )
  for (const currentSessionId of ['', 'x'.repeat(22)]) {
    const { sessions } = await client.listSessions({ userId, currentSessionId })
    t.notOk(sessions.some(({ current }) => current))
  }
  for (const currentSessionId of ['x', 'x'.repeat(23), created[0]?.token ?? '']) {
    await t.rejects(client.listSessions({ userId, currentSessionId }), { message: /current_session_id/ })
  }
})

t.test('sessions of the same millisecond have one order in every list', async (t) => {
  const userId = newUser()
  const now = Date.now()
  for (let count = 0; count < 8; count += 1) {
    const { token } = await create(userId)
    await storeValue(service, token, `0 ${now} ${now} ${now + rules.lifetime}`)
  }
  const ids = (await client.listSessions({ userId })).sessions.map(({ id }) => id)
  t.equal(ids.length, 8)
  t.same(ids, ids.toSorted())
})

t.test('the stored session and its validation have no user agent', async (t) => {
  const { session, token } = await create(newUser(), 'curl/8')
  t.equal(session.userAgent, '')
  t.match(await storedValue(service, token), /^\d+ \d+ \d+ \d+$/)
  const { result } = await client.validateSession({ token })
  t.match(result, { case: 'session', value: { userAgent: '', current: false } })
})

t.test('a user agent is removed with its session, by its token, its id and a replacement', async (t) => {
  const userId = newUser()
  const [first, second, third] = [await create(userId, 'a'), await create(userId, 'b'), await create(userId, 'c')]
  await create(userId, 'd')
  await client.deleteSession(byToken(first.token))
  t.same(await storedAgents(userId), ['b', 'c', 'd'])
  await client.deleteSession(byId(userId, second.id))
  t.same(await storedAgents(userId), ['c', 'd'])
  await client.createSession({ userId, replacesToken: third.token })
  t.same(await storedAgents(userId), ['d'])
  const other = newUser()
  const { token } = await create(other, 'e')
  await client.createSession({ userId, replacesToken: token, userAgent: 'f' })
  t.equal(await redis.exists(agentsKey(other)), 0, 'the session of another user that was replaced')
  t.same(await storedAgents(userId), ['d', 'f'])
})

t.test('a stale or foreign id ends no session and removes no user agent', async (t) => {
  const [userId, other] = [newUser(), newUser()]
  const [kept, ended, foreign] = [await create(userId, 'a'), await create(userId, 'b'), await create(other, 'c')]
  await client.deleteSession(byId(userId, ended.id))
  for (const id of [ended.id, foreign.id, 'x'.repeat(22)]) await client.deleteSession(byId(userId, id))
  t.same(await storedAgents(userId), ['a'])
  t.same(await storedAgents(other), ['c'])
  for (const { token } of [kept, foreign]) t.equal((await client.validateSession({ token })).result.case, 'session')
})

t.test('a user agent is removed with a session that is swept or ends at the limit of the account', async (t) => {
  const swept = newUser()
  for (let count = 0; count < 8; count += 1) {
    const { token } = await create(swept, String(count))
    if (count < 7) await storeValue(service, token, '0 1 1 1')
  }
  await create(swept, '8')
  t.same(await storedAgents(swept), ['7', '8'])
  const narrow = await startSessionSvc(t, { maxPerUser: 2 })
  const userId = newUser()
  for (const agent of ['a', 'b', 'c', 'd']) {
    const { token } = await create(userId, agent, narrow)
    const { createdAt, expiresAt } = await storedSession(service, token)
    await storeValue(service, token, `0 ${createdAt - 9000 + agent.charCodeAt(0)} ${createdAt} ${expiresAt}`)
  }
  t.same(await storedAgents(userId), ['c', 'd'])
})

t.test('a revocation removes the user agents of the sessions that end, and no other', async (t) => {
  const userId = newUser()
  const { id } = await create(userId, 'a')
  await create(userId, 'b')
  await client.createSession({ userId, epoch: 2n, userAgent: 'c' })
  await client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: id })
  t.same(await storedAgents(userId), ['a', 'c'])
  await client.deleteUserSessions({ userId, epoch: 2n })
  t.same(await storedAgents(userId), ['c'])
  await client.deleteUserSessions({ userId })
  t.equal(await redis.exists(agentsKey(userId)), 0)
})

/** Asserts that the key of the user agents expires with the key of the sessions. */
async function expiresWithSessions(t: Test, userId: string, atLeastMs: number): Promise<void> {
  // In this order: the first is not the smaller one because time has passed.
  const agents = await redis.pTTL(agentsKey(userId))
  const sessions = await redis.pTTL(sessionsKey(userId))
  t.ok(agents >= sessions && agents < sessions + 5000 && sessions > atLeastMs, `${agents} ms, ${sessions} ms`)
}

t.test('the key of the user agents expires with the key of the sessions', async (t) => {
  const brief = await startSessionSvc(t, { idleTimeout: 1000, lifetime: 3 * keepMs })
  const long = await startSessionSvc(t, { idleTimeout: 2 * keepMs, lifetime: 3 * keepMs })
  const userId = newUser()
  const { token } = await create(userId, 'a', brief)
  await expiresWithSessions(t, userId, keepMs - 5000)
  t.equal((await long.client.validateSession({ token })).result.case, 'session')
  await until('the use is written', async () => (await redis.pTTL(sessionsKey(userId))) > 2 * keepMs - 5000)
  await expiresWithSessions(t, userId, 2 * keepMs - 5000)
  await create(userId, 'b', brief)
  await expiresWithSessions(t, userId, 2 * keepMs - 5000)
  const later = newUser()
  await create(later, undefined, long)
  await create(later, 'a', brief)
  await expiresWithSessions(t, later, 2 * keepMs - 5000)
})

t.test('no log line has a user agent', async (t) => {
  const lines: string[] = []
  const log = createLogger('session-svc', 'debug', { write: (line) => void lines.push(line) })
  const logged = await startSessionSvc(t, {}, log)
  const userId = newUser()
  const { token, id } = await create(userId, 'Secret-Agent/7', logged)
  await logged.client.listSessions({ userId, currentSessionId: id })
  await logged.client.createSession({ userId, epoch: -1n, userAgent: 'Secret-Agent/7' }).catch(() => {})
  await logged.client.deleteSession(byToken(token))
  t.match(lines.join(''), /session_created/)
  t.notMatch(lines.join(''), /Secret-Agent/)
})

t.test('with full memory, sessions end together with their user agents', async (t) => {
  const server = await startRedisServer(t)
  const full = await startOn(t, server.address)
  const userId = newUser()
  const [first, second] = [await create(userId, 'a', full), await create(userId, 'b', full)]
  await create(userId, 'c', full)
  await server.client.configSet('maxmemory', '1')
  await full.client.deleteSession(byToken(first.token))
  t.same(await storedAgents(userId, full), ['b', 'c'])
  await full.client.deleteUserSessions({ userId, epoch: 1n, keptSessionId: second.id })
  t.same(await storedAgents(userId, full), ['b'])
  t.equal(await full.validate(second.token), 'session')
})

t.test('a user agent belongs to the session with its digest', async (t) => {
  const userId = newUser()
  const token = await createAged(service, userId, { createdMs: 0, usedMs: rules.idleTimeout / 2 })
  const { token: other } = await create(userId, 'a')
  t.same(Object.keys(await redis.hGetAll(agentsKey(userId))), [hashOf(other)])
  const { sessions } = await client.listSessions({ userId })
  t.same(
    new Map(sessions.map(({ id, userAgent }) => [id, userAgent])),
    new Map([
      [sessionId(hashOf(token)), ''],
      [sessionId(hashOf(other)), 'a']
    ])
  )
})
