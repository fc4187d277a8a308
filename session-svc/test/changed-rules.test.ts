/** Rules that change, at once or in a rolling deployment: two services with rules of their own on one Redis. */

import { timestampMs } from '@bufbuild/protobuf/wkt'
import t from 'tap'
import { parseToken, uuidBytes } from '#common/session/session-token.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { keepMs } from '../scripts.ts'
import { newUser, startSessionSvc } from './service.ts'

type Service = Awaited<ReturnType<typeof startSessionSvc>>

const minute = 60_000
const day = 24 * 60 * minute
const keyOf = (userId: string) => `s:{${uuidBytes(userId).toString('base64url')}}`
const validate = async ({ client }: Service, token: string) => (await client.validateSession({ token })).result.case

const numbersOf = (stored: Record<string, string>, hash: string) => (stored[hash] ?? '').split(' ').map(Number)

/** A session that was created and last used so long ago, as if the time had passed. */
async function createAged({ client, redis }: Service, userId: string, age: { createdMs: number; usedMs: number }) {
  const { token } = await client.createSession({ userId })
  const hash = parseToken(token)?.hash ?? ''
  const [epoch, created, , expires] = numbersOf(await redis.hGetAll(keyOf(userId)), hash)
  const times = [Number(created) - age.createdMs, Number(created) - age.usedMs, Number(expires) - age.createdMs]
  await redis.hSet(keyOf(userId), hash, `${epoch} ${times.join(' ')}`)
  return { token, hash }
}

await fieldCase(t, 8, 'a session in use ends by the rule in force, whatever rule it began under', async (t) => {
  const before = await startSessionSvc(t, { idleTimeout: minute })
  const after = await startSessionSvc(t, { idleTimeout: 60 * minute })
  const userId = newUser()
  const { token } = await createAged(before, userId, { createdMs: 2 * minute, usedMs: 2 * minute })
  t.equal(await validate(before, token), 'invalid')
  t.equal(await validate(after, token), 'session', 'the longer rule finds it, and uses it')
  t.equal(await validate(before, token), 'invalid', 'lowered again, at once')
})

await fieldCase(t, 8, 'the key of a session outlasts the longer rule from its first use on', async (t) => {
  const after = await startSessionSvc(t, { idleTimeout: 60 * minute })
  const userId = newUser()
  const { token, hash } = await createAged(after, userId, { createdMs: 1000, usedMs: 1000 })
  const stored = async () => (await after.redis.hGetAll(keyOf(userId)))[hash]
  // As an older version left it: the key's own expiry follows the shorter rule.
  await after.redis.pExpire(keyOf(userId), minute - 1000)
  const value = await stored()
  t.equal(await validate(after, token), 'session')
  await until(
    'the key has the longer lifetime',
    async () => (await after.redis.pTTL(keyOf(userId))) > 59 * minute - 1000
  )
  t.not(await stored(), value)
  const written = await stored()
  t.equal(await validate(after, token), 'session')
  t.equal(await stored(), written, 'once')
})

await fieldCase(
  t,
  8,
  'two instances with two idle timeouts: the sweep of the shorter leaves what the longer allows',
  async (t) => {
    const [short, long] = [await startSessionSvc(t, { idleTimeout: minute }), await startSessionSvc(t)]
    const userId = newUser()
    const { client } = await startSessionSvc(t, { idleTimeout: 30 * minute })
    const { token } = await createAged(long, userId, { createdMs: 5 * minute, usedMs: 5 * minute })
    const { hash: old } = await createAged(long, userId, { createdMs: 3 * day, usedMs: keepMs + minute })
    for (let count = 0; count < 7; count += 1) await short.client.createSession({ userId })
    t.equal((await client.validateSession({ token })).result.case, 'session')
    t.notOk(old in (await long.redis.hGetAll(keyOf(userId))), 'what was unused for a day is swept')
    const narrow = await startSessionSvc(t, { idleTimeout: minute, maxPerUser: 8 })
    await narrow.client.createSession({ userId })
    t.equal((await client.validateSession({ token })).result.case, 'invalid', 'it goes before one that is in use')
  }
)

await fieldCase(t, 8, '`session.lifetime`, raised or lowered, counts from the creation, at once', async (t) => {
  const [short, long] = [
    await startSessionSvc(t, { idleTimeout: 3 * day, lifetime: 2 * day }),
    await startSessionSvc(t, { idleTimeout: 3 * day, lifetime: 5 * day })
  ]
  const userId = newUser()
  const { token, hash } = await createAged(short, userId, { createdMs: 2 * day + minute, usedMs: minute })
  t.equal(await validate(short, token), 'invalid')
  const { result } = await long.client.validateSession({ token })
  if (result.case !== 'session') return void t.fail(String(result.case))
  const { createdAt, expiresAt } = result.value
  t.equal(timestampMs(expiresAt as never) - timestampMs(createdAt as never), 5 * day)
  await until('the session has the longer lifetime', async () => {
    const [, created, , expires] = numbersOf(await long.redis.hGetAll(keyOf(userId)), hash)
    return Number(expires) - Number(created) === 5 * day
  })
  t.equal(await validate(short, token), 'invalid', 'lowered again')
})

t.test('a list is no use of the sessions that it shows', async (t) => {
  const service = await startSessionSvc(t, { idleTimeout: 10 * minute })
  const userId = newUser()
  const { hash } = await createAged(service, userId, { createdMs: 5 * minute, usedMs: 5 * minute })
  const value = (await service.redis.hGetAll(keyOf(userId)))[hash]
  t.equal((await service.client.listSessions({ userId })).sessions.length, 1)
  // A use would be written before the answer to a later command.
  await service.client.createSession({ userId })
  t.equal((await service.redis.hGetAll(keyOf(userId)))[hash], value)
})

await fieldCase(t, 11, 'session-svc reports the age of a session by the clock of Redis', async (t) => {
  const service = await startSessionSvc(t)
  const { token } = await createAged(service, newUser(), { createdMs: 20 * minute, usedMs: 0 })
  const { result } = await service.client.validateSession({ token })
  const age = result.case === 'session' ? Number(result.value.age?.seconds) : Number.NaN
  t.ok(age >= 1200 && age < 1230, `${age} s`)
  const { validations } = await service.client.validateSessions({ tokens: [token, 'x'], flat: true })
  const ageMs = Number(validations[0]?.ageMs)
  t.ok(ageMs >= 1_200_000 && ageMs < 1_230_000, `${ageMs} ms`)
  t.equal(validations[1]?.ageMs, undefined)
})
