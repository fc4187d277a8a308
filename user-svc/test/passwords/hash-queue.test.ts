/** The hash queue: slots, lanes, admission by deadline, callers that disconnect. Only `advance` moves the clock. */

import { Code, type ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { isOverload, retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import type { Lane } from '../../passwords/hash-lanes.ts'
import { createQueue, errorOf, outcome } from './hash-queue-bed.ts'

t.test('runs as many hashes at a time as there are slots, in order', async (t) => {
  const { clock, hash, seen } = createQueue(2)
  const names = Array.from({ length: 9 }, (_, index) => `${index}`)
  const all = Promise.all(names.map((name) => hash('login', name)))
  for (const started of [2, 4, 6, 8, 9]) {
    t.equal(seen.started.length, started)
    await clock.advance(1000)
  }
  t.same(await all, names)
  t.same(
    seen.started,
    names.map((name) => `login ${name}`)
  )
  t.same(seen.waits, [0, 0, 1, 1, 2, 2, 3, 3, 4])
  t.equal(seen.lengths.at(-1), 'login 0')
})

t.test('alternates between the lanes, however long one of them is', async (t) => {
  const { clock, hash, seen } = createQueue(1)
  const logins = Array.from({ length: 8 }, (_, index) => hash('login', `${index}`))
  const registrations = [hash('registration', 'a'), hash('registration', 'b')]
  await clock.advance(10_000)
  await Promise.all([...logins, ...registrations])
  t.same(seen.started.slice(0, 5), ['login 0', 'registration a', 'login 1', 'registration b', 'login 2'])
})

t.test('rejects a call at once that would miss its deadline, with the time after which there is room', async (t) => {
  const { clock, queue, caller, hash, seen } = createQueue(1)
  const running = Array.from({ length: 4 }, () => hash('login'))
  const rejected = await outcome(clock, hash('login', 'late', caller(9000)))
  t.equal(rejected.atMs, 0)
  t.equal(rejected.code, Code.Unavailable)
  t.ok(isOverload(rejected.error))
  t.equal(retryAfterSeconds(rejected.error as ConnectError), 4, 'four hashes of a second are ahead')
  const prepare = (lane: Lane, budgetMs: number) => errorOf(queue.prepare(lane, caller(budgetMs), async () => 'done'))
  t.equal((await prepare('login', 9000))?.code, Code.Unavailable)
  t.equal(await prepare('login', 9500), undefined)
  t.equal(await prepare('registration', 5500), undefined, 'the other lane is empty')
  t.same(seen.shed, ['hash_queue_full', 'hash_queue_full'])
  await clock.advance(4000)
  await Promise.all(running)
})

t.test('of a burst, does no work for calls without a place', async (t) => {
  const { clock, queue, caller, seen } = createQueue(1)
  let prepared = 0
  const work = async () => {
    prepared += 1
    await clock.sleep(50)
  }
  const burst = () => Array.from({ length: 20 }, () => outcome(clock, queue.prepare('login', caller(5500), work)))
  for (const round of [1, 2]) {
    const calls = burst()
    t.equal(prepared, 3 * round, 'one hash a second, and twice the wait is within the deadline')
    t.equal(seen.shed.length, 17 * round)
    await clock.advance(50)
    const codes = (await Promise.all(calls)).map(({ code }) => code)
    t.same(codes, [...Array(3).fill(undefined), ...Array(17).fill(Code.Unavailable)])
  }
})

t.test('rejects waiting calls before their deadline when hashing becomes slower than expected', async (t) => {
  const { clock, caller, hash, seen } = createQueue(1, 10)
  const slow = hash('login', 'slow', caller(), 900)
  const waiting = outcome(clock, hash('login', 'waiting', caller(600)))
  await clock.advance(600)
  t.match(await waiting, { code: Code.Unavailable, atMs: 340 }, 'a hash and the reserve before the deadline')
  t.same(seen.shed, ['hash_slow'])
  await clock.advance(300)
  await slow
  t.same(seen.started, ['login slow'])
})

t.test('reports a running hash that misses the deadline as not done, while its caller still listens', async (t) => {
  const { clock, caller, hash, seen } = createQueue(1, 10)
  const endless = outcome(clock, hash('login', 'endless', caller(400), 1200))
  await clock.advance(400)
  t.match(await endless, { code: Code.Unavailable, atMs: 300 })
  t.same(seen.shed, ['hash_slow'])
  t.equal(
    (await errorOf(hash('login', 'next', caller(500))))?.code,
    Code.Unavailable,
    'the next is expected to be slow'
  )
  t.same(seen.shed, ['hash_slow', 'hash_queue_full'])
})

t.test('a caller that disconnects leaves the queue, and its running hash keeps its slot', async (t) => {
  const { clock, queue, caller, hash, seen } = createQueue(1)
  const [ofRunning, ofWaiting] = [new AbortController(), new AbortController()]
  const running = errorOf(hash('login', 'running', caller(60_000, ofRunning.signal)))
  const waiting = errorOf(hash('login', 'waiting', caller(60_000, ofWaiting.signal)))
  const last = hash('login', 'last')
  ofWaiting.abort()
  ofRunning.abort(deadlineExceeded())
  t.equal((await waiting)?.code, Code.Canceled)
  t.equal((await running)?.code, Code.DeadlineExceeded, 'the caller does not wait for the end of the hash')
  t.notOk(queue.hasFreeSlot())
  t.same(seen.started, ['login running'])
  await clock.advance(2000)
  t.equal(await last, 'last')
  t.same(seen.started, ['login running', 'login last'])
  t.equal(seen.lengths.at(-1), 'login 0')
  t.ok(queue.hasFreeSlot())
  const aborted = AbortSignal.abort(deadlineExceeded())
  t.equal((await errorOf(hash('login', 'aborted', caller(100, aborted))))?.code, Code.DeadlineExceeded)
})

t.test('a caller that disconnects in the moment when it gets its slot returns the slot', async (t) => {
  const { clock, queue, caller, hash } = createQueue(1)
  const leaving = new AbortController()
  const first = queue.run('login', caller(), async () => leaving.abort())
  const second = errorOf(hash('login', 'second', caller(60_000, leaving.signal)))
  await first
  await clock.advance(1000)
  t.equal((await second)?.code, Code.Canceled)
  t.ok(queue.hasFreeSlot())
})

t.test('a failed hash frees its slot', async (t) => {
  const { clock, queue, caller, hash } = createQueue(1)
  await t.rejects(queue.run('login', caller(), () => Promise.reject(new TypeError('broken'))))
  t.ok(queue.hasFreeSlot())
  const next = hash('login', 'next')
  await clock.advance(1000)
  t.equal(await next, 'next')
})

t.test('a hash that was not computed does not shorten the expected time', async (t) => {
  const { clock, queue, caller, hash } = createQueue(1)
  for (let count = 0; count < 50; count += 1) {
    await errorOf(queue.run('login', caller(), () => Promise.reject(new TypeError('the caller disconnected'))))
  }
  const running = Array.from({ length: 3 }, () => hash('login'))
  t.equal((await errorOf(hash('login', 'late', caller(3000))))?.code, Code.Unavailable, 'three seconds are ahead')
  await clock.advance(3000)
  await Promise.all(running)
})

t.test('the expected time follows the measured hashes', async (t) => {
  const { clock, hash, caller } = createQueue(1, 10)
  for (let count = 0; count < 20; count += 1) {
    const hashed = hash('login', '', caller(), 1000)
    await clock.advance(1000)
    await hashed
  }
  void hash('login', '', caller(), 1000)
  t.equal((await errorOf(hash('login', 'late', caller(3000))))?.code, Code.Unavailable, 'about 990 ms')
  await clock.advance(1000)
})

t.test('two hashes that wait for a core reject no burst that could be served in time', async (t) => {
  const { clock, hash, caller, seen } = createQueue(2, 1)
  const slow = [hash('login', 'a', caller(), 250), hash('login', 'b', caller(), 250)]
  await clock.advance(240)
  const burst = Array.from({ length: 19 }, (_, index) => hash('login', `${index}`, caller(5000)))
  await clock.advance(100)
  await Promise.all([...slow, ...burst])
  t.same(seen.shed, [])
})
