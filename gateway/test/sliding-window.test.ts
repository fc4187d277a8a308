/** The windows of the rate limits: a limit holds in every interval, in memory and in Redis alike, and no window is forgotten. */

import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import t from 'tap'
import { connectRedis } from '#common/redis/connection.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { localWindows, slotsPerWindow } from '../plugins/local-windows.ts'
import { rateLimitScripts } from '../plugins/rate-limit-store.ts'

const windowMs = 60_000
const slotMs = windowMs / slotsPerWindow

function local(max: number) {
  const clock = createTestClock()
  const windows = localWindows(clock.now)
  const take = (key = 'a', cost = 1, larger = 'block') => windows.take(key, larger, cost, { max, windowMs })
  return { clock, take }
}

t.test('a limit holds in every interval of its length, also around the edges of a window', async (t) => {
  const { clock, take } = local(30)
  const admittedAt: number[] = []
  for (let step = 0; step < 1200; step += 1) {
    if (take().isAdmitted) admittedAt.push(clock.now())
    await clock.advance(step % 7 === 0 ? 777 : 131)
  }
  const most = Math.max(
    ...admittedAt.map((from) => admittedAt.filter((at) => at >= from && at < from + windowMs).length)
  )
  t.equal(most, 30)
  t.ok(admittedAt.length > 100, 'and requests are admitted again')
})

t.test('a rejected request takes nothing, and learns when it would be admitted', async (t) => {
  const { clock, take } = local(4)
  t.match(take('a', 1), { isAdmitted: true, used: 1, leftMs: windowMs + slotMs })
  await clock.advance(2 * slotMs)
  t.match(take('a', 3), { isAdmitted: true, used: 4, leftMs: windowMs - slotMs })
  t.match(take('a', 1), { isAdmitted: false, used: 4, leftMs: windowMs - slotMs })
  t.match(take('a', 2), { isAdmitted: false, used: 4, leftMs: windowMs + slotMs }, 'the second slot must end too')
  for (let count = 0; count < 100; count += 1) take('a', 1)
  await clock.advance(windowMs - slotMs - 1)
  t.equal(take('a', 1).isAdmitted, false)
  await clock.advance(1)
  t.equal(take('a', 1).isAdmitted, true)
})

t.test('units that are given back are free at once', async (t) => {
  const { take } = local(4)
  const first = take('a', 4)
  t.equal(take('a', 1).isAdmitted, false)
  first.giveBack(3)
  t.match(take('a', 3), { isAdmitted: true, used: 4 })
  first.giveBack(100)
  t.match(take('a', 1), { isAdmitted: true, used: 1 }, 'never below zero')
})

t.test('no window is forgotten before its end: when there are too many, new clients share', async (t) => {
  const { clock, take } = local(2)
  take('first', 2)
  for (let count = 1; count < 10_000; count += 1) take(`c${count}`)
  t.equal(take('first', 1).isAdmitted, false, 'the oldest window is still there')
  const statuses = [1, 2, 3].map((count) => take(`new${count}`, 1, '2001:db8::/48').isAdmitted)
  t.same(statuses, [true, true, false], 'the networks of one block share')
  const { giveBack } = take('new5', 2, '2001:db8:1::/48')
  giveBack(1)
  t.equal(take('new6', 1, '2001:db8:1::/48').isAdmitted, true, 'units of a shared window are given back')
  t.equal(take('c1', 1).isAdmitted, true, 'earlier clients keep their own window')
  await clock.advance(windowMs + slotMs)
  t.same([take('new4', 2, '2001:db8::/48').isAdmitted, take('first', 2).isAdmitted], [true, true])
})

t.test('Redis counts as the memory does', async (t) => {
  const redis = connectRedis(engineAddress('TEST_REDIS_URL'), silentLog, rateLimitScripts)
  t.teardown(() => redis.destroy())
  if (!redis.isReady) await once(redis, 'ready')
  // So long that no slot ends during the test.
  const day = 86_400_000
  const name = `rl:w:test:${randomUUID()}`
  // Without the timeout of the store: a busy machine answers late.
  const take = (cost: number) => redis.takeUnits(name, day / slotsPerWindow, 4, cost)
  const first = await take(3)
  t.match(first, { isAdmitted: true, used: 3 })
  t.match(await take(2), { isAdmitted: false, used: 3 })
  await redis.giveBackUnits(name, first.slot, 1)
  t.match(await take(2), { isAdmitted: true, used: 4 })
  const { slot } = first
  t.same({ ...(await redis.hGetAll(name)) }, { [slot]: '4' })
  t.ok((await redis.pTTL(name)) > day, 'the key ends after its last slot')

  await redis.del(name)
  await redis.hSet(name, { [slot - 11]: '4', [slot - 10]: '1', [slot - 3]: '2' })
  const taken = await take(1)
  t.match(taken, { isAdmitted: true, used: 4 }, 'the oldest slot has ended')
  t.ok(taken.leftMs > 0 && taken.leftMs <= day / 10, 'the next slot ends first')
  t.equal(await redis.hExists(name, String(slot - 11)), 0)
  const rejected = await take(2)
  t.equal(rejected.isAdmitted, false)
  t.ok(rejected.leftMs > (day * 7) / 10 && rejected.leftMs <= (day * 8) / 10, 'two units are free after two slots')
})
