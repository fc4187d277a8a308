/** The RPCs of session-svc over gRPC, on a real Redis: creation, validation, and each way in which a session ends. */

import { timestampMs } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { reasonMetadata } from '#common/errors/connect-errors.ts'
import { createLogger } from '#common/logging/logger.ts'
import { newTrace } from '#common/ops/trace.ts'
import { createToken, parseToken } from '#common/session/session-token.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { createSessions } from '../sessions.ts'
import { ageSession, createAged, epochKey, sessionsKey, storedSession, storeValue } from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'
import { sessionCalls } from './session-calls.ts'

const service = await startSessionSvc(t)
const { client, redis } = service
const { create, outcome } = sessionCalls(client)

t.test('a new session is valid and has its user', async (t) => {
  const { session, token, userId } = await create()
  t.match(token, /^ses_[\w-]{70}$/)
  const { result } = await client.validateSession({ token })
  t.match(result, { case: 'session', value: { id: session.id, userId } })
  const life = timestampMs(session.expiresAt as never) - timestampMs(session.createdAt as never)
  t.equal(life, rules.lifetime)
})

t.test('Redis stores no token, only the digest of its secret', async (t) => {
  const { token, userId } = await create()
  const tag = /\{(.+)\}/.exec(sessionsKey(userId))?.[1]
  const keys = await redis.keys(`*${tag}*`)
  const values = await Promise.all(keys.map(async (key) => Object.entries(await redis.hGetAll(key))))
  t.equal(keys.length, 1)
  const secret = Buffer.from(token.slice(4), 'base64url').subarray(16, 48)
  const stored = [...keys, ...values.flat(2)].join(' ')
  for (const form of ['base64url', 'base64', 'hex'] as const) t.notMatch(stored, secret.toString(form))
})

t.test('a malformed, an unknown and an ended token are invalid for different reasons, without an error', async (t) => {
  const { token, userId } = await create()
  t.equal(await outcome('garbage'), 'MALFORMED')
  t.equal(await outcome(`${token}x`), 'MALFORMED')
  t.equal(await outcome(createToken(userId).token), 'NOT_FOUND')
  await client.deleteSession({ target: { case: 'token', value: token } })
  t.equal(await outcome(token), 'NOT_FOUND')
  await client.deleteSession({ target: { case: 'token', value: token } })
})

t.test('a malformed value or epoch in Redis makes a session unknown, neither valid nor invalid', async (t) => {
  for (const value of ['', 'garbage', '1 2 3', '0 x 1 2']) {
    const { token } = await create()
    await storeValue(service, token, value)
    t.equal(await outcome(token), 'undefined', JSON.stringify(value))
  }
  const { token, userId } = await create()
  await redis.set(epochKey(userId), 'garbage')
  t.equal(await outcome(token), 'undefined', 'the epoch')
})

t.test('results are in the order of the tokens, and a malformed token does not affect the others', async (t) => {
  const [a, b] = await Promise.all([create(), create()])
  const { results } = await client.validateSessions({ tokens: [a.token, 'garbage', b.token] })
  t.same(
    results.map(({ result }) => (result.case === 'session' ? result.value.userId : result.case)),
    [a.userId, 'invalid', b.userId]
  )
  const flat = await client.validateSessions({ tokens: [a.token, 'garbage', b.token], flat: true })
  t.same(
    flat.validations.map(({ userId, invalidReason }) => userId || invalidReason),
    [a.userId, InvalidReason.MALFORMED, b.userId]
  )
  t.equal(flat.results.length, 0)
  const many = client.validateSessions({ tokens: Array.from({ length: 257 }, () => 'x') })
  await t.rejects(many, { code: Code.InvalidArgument })
})

t.test('the log line of a call for several requests has their trace ids', async (t) => {
  const lines: string[] = []
  const log = createLogger('session-svc', 'info', { write: (line) => void lines.push(line) })
  const { client } = await startSessionSvc(t, {}, log)
  const traceIds = [newTrace().traceId, newTrace().traceId]
  await client.validateSessions({ tokens: ['x', 'y'], traceIds })
  t.match(JSON.parse(lines.at(-1) ?? ''), { event: 'rpc_served', count: 2, traceIds })
  for (const wrong of [traceIds.slice(1), ['x\ny', 'z'], [...traceIds, newTrace().traceId]]) {
    const call = client.validateSessions({ tokens: ['x', 'y'], traceIds: wrong })
    await t.rejects(call, { code: Code.InvalidArgument })
  }
})

t.test('a revocation ends sessions below its epoch and rejects creations below it', async (t) => {
  const userId = newUser()
  const old = await create(userId, 3n)
  await client.deleteUserSessions({ userId, epoch: 4n })
  t.equal(await outcome(old.token), 'REVOKED')
  const late = await client.createSession({ userId, epoch: 3n }).catch(ConnectError.from)
  t.match(late, { code: Code.FailedPrecondition })
  t.same(reasonMetadata(late, 'session.v1', 'SESSION_EPOCH_RAISED'), { lowestEpoch: '4' })
  const current = await create(userId, 4n)
  await client.deleteUserSessions({ userId, epoch: 4n })
  await client.deleteUserSessions({ userId, epoch: 2n })
  t.equal(await outcome(current.token), 'session', 'a repeated or a lower epoch ends nothing')
})

t.test('the epoch key outlives every session that the epoch ended', async (t) => {
  const userId = newUser()
  await create(userId)
  const { client: shortLived } = await startSessionSvc(t, { lifetime: 1000 })
  await shortLived.deleteUserSessions({ userId, epoch: 1n })
  // The maximum of session.lifetime is 400 days.
  t.ok((await redis.pTTL(epochKey(userId))) > 399 * 86_400_000)
})

t.test('a new session ends the session of the token in `replaces_token`', async (t) => {
  const first = await create()
  const second = await create(first.userId, 0n, first.token)
  t.equal(await outcome(first.token), 'NOT_FOUND')
  const other = await create(newUser(), 0n, second.token)
  t.equal(await outcome(second.token), 'NOT_FOUND', "another user's session ends too")
  t.equal(await outcome(other.token), 'session')
  t.equal(await outcome((await create(newUser(), 0n, 'garbage')).token), 'session')
})

t.test('a session ends by its idle timeout or its lifetime; a use extends only the first', async (t) => {
  const { idleTimeout, lifetime } = rules
  const userId = newUser()
  const idle = await createAged(service, userId, { createdMs: idleTimeout, usedMs: idleTimeout })
  t.equal(await outcome(idle), 'NOT_FOUND', 'idle')
  const used = await createAged(service, userId, { createdMs: idleTimeout / 2, usedMs: idleTimeout / 2 })
  t.equal(await outcome(used), 'session')
  await until('the use is stored', async () => (await storedSession(service, used)).lastSeenAt > Date.now() - 10_000)
  await ageSession(service, used, { createdMs: idleTimeout * 0.6, usedMs: idleTimeout * 0.6 })
  t.equal(await outcome(used), 'session', 'without the use it would be idle')
  const old = await createAged(service, userId, { createdMs: lifetime, usedMs: 0 })
  t.equal(await outcome(old), 'NOT_FOUND', 'at the end of its lifetime, although in use')
})

t.test('a list has the valid sessions only, and a session can be ended by its id', async (t) => {
  const userId = newUser()
  const first = await create(userId)
  const second = await create(userId)
  const third = await create(userId)
  await client.deleteSession({ target: { case: 'token', value: second.token } })
  const reference = { userId, sessionId: third.session.id }
  await client.deleteSession({ target: { case: 'reference', value: reference } })
  await client.deleteSession({ target: { case: 'reference', value: { userId, sessionId: 'x'.repeat(22) } } })
  t.equal(await outcome(third.token), 'NOT_FOUND')
  const { sessions } = await client.listSessions({ userId })
  t.same(
    sessions.map(({ id }) => id),
    [first.session.id]
  )
  await client.deleteUserSessions({ userId, epoch: 1n })
  t.same((await client.listSessions({ userId })).sessions, [])
})

t.test('a lost reply is an unknown outcome if the creation ends a session, and not applied otherwise', async (t) => {
  const { userId, token } = await create()
  const lost = Object.assign(new Error('lost'), { code: 'ECONNRESET' })
  const broken = Object.assign(Object.create(redis), { createSession: () => Promise.reject(lost) })
  const sessions = createSessions(broken, rules, silentLog)
  const signal = AbortSignal.timeout(1000)
  await t.rejects(sessions.createSession(userId, 0n, { replaced: parseToken(token) }, signal), {
    code: Code.DeadlineExceeded
  })
  await t.rejects(sessions.createSession(userId, 0n, {}, signal), { code: Code.Unavailable })
})

t.test('invalid_argument names the fields', async (t) => {
  await t.rejects(client.createSession({ userId: 'x' }), { code: Code.InvalidArgument, message: /user_id/ })
  await t.rejects(client.createSession({ userId: newUser(), epoch: -1n }), { message: /epoch/ })
  await t.rejects(client.createSession({ userId: newUser(), epoch: 2n ** 60n }), { message: /epoch/ })
  await t.rejects(client.deleteUserSessions({ userId: newUser(), epoch: -1n }), { message: /epoch/ })
  await t.rejects(client.deleteUserSessions({ userId: newUser(), epoch: 2n ** 53n - 1n }), { message: /epoch/ })
  await t.rejects(client.deleteSession({}), { message: /token/ })
  const target = { case: 'reference' as const, value: { userId: newUser(), sessionId: 'x' } }
  await t.rejects(client.deleteSession({ target }), { message: /session_id/ })
})
