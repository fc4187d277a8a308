/** Rules that change, at once or in a rolling update: services with different rules on one Redis. */

import { timestampMs } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { keepMs } from '../scripts.ts'
import { createAged, hashOf, type Service, sessionsKey, storedSession, storedValue } from './aged-session.ts'
import { newUser, startSessionSvc } from './service.ts'

const minute = 60_000
const day = 24 * 60 * minute
const validate = async ({ client }: Service, token: string) => (await client.validateSession({ token })).result.case

await fieldCase(t, 8, 'a session ends by the rules in force, not by those at its creation', async (t) => {
  const before = await startSessionSvc(t, { idleTimeout: minute })
  const after = await startSessionSvc(t, { idleTimeout: 60 * minute })
  const token = await createAged(before, newUser(), { createdMs: 2 * minute, usedMs: 2 * minute })
  t.equal(await validate(before, token), 'invalid')
  t.equal(await validate(after, token), 'session', 'by the longer idle timeout, and this is a use')
  t.equal(await validate(before, token), 'invalid', 'by the shorter one, which ignores the pending use')
})

await fieldCase(t, 8, 'the first use under a longer idle timeout extends the life of the key, once', async (t) => {
  const after = await startSessionSvc(t, { idleTimeout: 60 * minute })
  const userId = newUser()
  const token = await createAged(after, userId, { createdMs: 1000, usedMs: 1000 })
  // As an older version left it: the key expires by the shorter rule.
  await after.redis.pExpire(sessionsKey(userId), minute - 1000)
  const value = await storedValue(after, token)
  t.equal(await validate(after, token), 'session')
  await until('the key has the longer lifetime', async () => {
    return (await after.redis.pTTL(sessionsKey(userId))) > 59 * minute - 1000
  })
  const written = await storedValue(after, token)
  t.not(written, value)
  t.equal(await validate(after, token), 'session')
  // A use would be written before the reply to a later command.
  await after.client.createSession({ userId })
  t.equal(await storedValue(after, token), written)
})

await fieldCase(t, 8, 'the sweep under a shorter idle timeout keeps sessions that a longer one allows', async (t) => {
  const [short, long] = [await startSessionSvc(t, { idleTimeout: minute }), await startSessionSvc(t)]
  const longer = await startSessionSvc(t, { idleTimeout: 30 * minute })
  const userId = newUser()
  const token = await createAged(long, userId, { createdMs: 5 * minute, usedMs: 5 * minute })
  const old = await createAged(long, userId, { createdMs: 3 * day, usedMs: keepMs + minute })
  for (let count = 0; count < 7; count += 1) await short.client.createSession({ userId })
  t.equal(await validate(longer, token), 'session')
  t.notOk(hashOf(old) in (await long.redis.hGetAll(sessionsKey(userId))), 'a session unused for a day is swept')
  const narrow = await startSessionSvc(t, { idleTimeout: minute, maxPerUser: 8 })
  await narrow.client.createSession({ userId })
  t.equal(await validate(longer, token), 'invalid', 'at the limit, it ends before a session that is in use')
})

await fieldCase(t, 8, 'a changed `session.lifetime` counts from the creation of a session, at once', async (t) => {
  const [short, long] = [
    await startSessionSvc(t, { idleTimeout: 3 * day, lifetime: 2 * day }),
    await startSessionSvc(t, { idleTimeout: 3 * day, lifetime: 5 * day })
  ]
  const token = await createAged(short, newUser(), { createdMs: 2 * day + minute, usedMs: minute })
  t.equal(await validate(short, token), 'invalid')
  const { result } = await long.client.validateSession({ token })
  if (result.case !== 'session') return void t.fail(String(result.case))
  const { createdAt, expiresAt } = result.value
  t.equal(timestampMs(expiresAt as never) - timestampMs(createdAt as never), 5 * day)
  await until('the stored session has the longer lifetime', async () => {
    const { createdAt, expiresAt } = await storedSession(long, token)
    return expiresAt - createdAt === 5 * day
  })
  t.equal(await validate(short, token), 'invalid', 'lowered again')
})

t.test('a list is not a use of its sessions', async (t) => {
  const service = await startSessionSvc(t, { idleTimeout: 10 * minute })
  const userId = newUser()
  const token = await createAged(service, userId, { createdMs: 5 * minute, usedMs: 5 * minute })
  const value = await storedValue(service, token)
  t.equal((await service.client.listSessions({ userId })).sessions.length, 1)
  // A use would be written before the reply to a later command.
  await service.client.createSession({ userId })
  t.equal(await storedValue(service, token), value)
})

await fieldCase(t, 11, 'session-svc reports the age of a session by the clock of Redis', async (t) => {
  const service = await startSessionSvc(t)
  const token = await createAged(service, newUser(), { createdMs: 20 * minute, usedMs: 0 })
  const { result } = await service.client.validateSession({ token })
  const age = result.case === 'session' ? Number(result.value.age?.seconds) : Number.NaN
  t.ok(age >= 1200 && age < 1230, `${age} s`)
  const { validations } = await service.client.validateSessions({ tokens: [token, 'x'], flat: true })
  const ageMs = Number(validations[0]?.ageMs)
  t.ok(ageMs >= 1_200_000 && ageMs < 1_230_000, `${ageMs} ms`)
  t.equal(validations[1]?.ageMs, undefined)
})
