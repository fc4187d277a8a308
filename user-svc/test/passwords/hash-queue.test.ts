/** The hash queue: slots, lanes, admission by deadline, callers that disconnect. Only `advance` moves the clock. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { isOverload, reasonMetadata, retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import type { CallClass, Flow } from '../../passwords/fair-queue.ts'
import type { Lane } from '../../passwords/hash-lanes.ts'
import { HashQueue } from '../../passwords/hash-queue.ts'

/** A queue that expects a hash to take `hashMs` milliseconds. */
function createQueue(slots: number, hashMs = 1000) {
  const clock = createTestClock()
  const seen = { lengths: [] as string[], waits: [] as number[], shed: [] as string[], started: [] as string[] }
  const queue = new HashQueue(
    slots,
    hashMs,
    {
      onLength: (lane, waiting) => void seen.lengths.push(`${lane} ${waiting}`),
      onStart: (_lane, seconds) => void seen.waits.push(seconds),
      onShed: (reason, flow) => void seen.shed.push(flow.class === 'clean' ? reason : `${reason} ${flow.class}`)
    },
    clock
  )
  /** A caller with a deadline in `budgetMs` milliseconds. */
  function caller(budgetMs = 60_000, signal = new AbortController().signal, flow?: Flow) {
    const endsAt = clock.now() + budgetMs
    return { signal, timeoutMs: () => endsAt - clock.now(), ...(flow && { flow }) }
  }
  /** A caller of a network with a deadline in `budgetMs` milliseconds. */
  const from = (callClass: CallClass, network: string, budgetMs = 60_000) =>
    caller(budgetMs, undefined, { class: callClass, network })
  function hash(lane: Lane, name = '', from = caller(), tookMs = hashMs): Promise<string> {
    return queue.run(lane, from, async () => {
      seen.started.push(`${lane} ${name}`.trim())
      await clock.sleep(tookMs)
      return name
    })
  }
  return { clock, queue, caller, from, hash, seen }
}

/** When a call settled, and its error, if any. */
async function outcome(clock: { now(): number }, call: Promise<unknown>) {
  const error = await errorOf(call)
  return { error, code: error?.code, atMs: clock.now() }
}

const errorOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error) => ConnectError.from(error)
  )

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

/** The first letters of the started calls: the class or network of each. */
const order = (started: string[]) => started.map((each) => each.replace('login ', '')[0]).join('')

t.test('two hashes that wait for a core reject no burst that could be served in time', async (t) => {
  const { clock, hash, caller, seen } = createQueue(2, 1)
  const slow = [hash('login', 'a', caller(), 250), hash('login', 'b', caller(), 250)]
  await clock.advance(240)
  const burst = Array.from({ length: 19 }, (_, index) => hash('login', `${index}`, caller(5000)))
  await clock.advance(100)
  await Promise.all([...slow, ...burst])
  t.same(seen.shed, [])
})

t.test('the networks of a class take turns, however many calls one of them has', async (t) => {
  const { clock, from, hash, seen } = createQueue(1)
  const many = Array.from({ length: 20 }, (_, index) => hash('login', `a${index}`, from('clean', 'a', 600_000)))
  const few = ['b', 'c'].flatMap((network) =>
    [1, 2].map((each) => hash('login', `${network}${each}`, from('clean', network, 600_000)))
  )
  await clock.advance(30_000)
  await Promise.all([...many, ...few])
  t.equal(order(seen.started).slice(0, 8), 'abcabcaa')
})

t.test('classes have shares by weight: known 4, clean 2, failing 1', async (t) => {
  const { clock, from, hash, seen } = createQueue(1)
  const classes = ['failing', 'clean', 'known'] as const
  const calls = classes.flatMap((each) =>
    Array.from({ length: 30 }, (_, index) => hash('login', each, from(each, `${index % 5}`, 600_000)))
  )
  await clock.advance(28_000)
  const counts = classes.map((each) => seen.started.slice(0, 28).filter((name) => name === `login ${each}`).length)
  t.same(counts, [5, 8, 15], 'the first call started before any other came')
  await clock.advance(70_000)
  await Promise.all(calls)
})

t.test('a class that was idle has no claim to earlier shares', async (t) => {
  const { clock, from, hash, seen } = createQueue(1)
  const first = Array.from({ length: 10 }, () => hash('login', 'f', from('failing', 'a')))
  await clock.advance(10_000)
  const next = [...Array.from({ length: 5 }, () => hash('login', 'k', from('known', 'b')))]
  next.push(...Array.from({ length: 5 }, () => hash('login', 'f', from('failing', 'a'))))
  await clock.advance(10_000)
  await Promise.all([...first, ...next])
  t.ok(order(seen.started).slice(10, 16).includes('f'), 'failing networks are not starved')
})

t.test('24 failing networks at their limits do not delay a known device or a clean network', async (t) => {
  const { clock, from, hash, seen } = createQueue(2, 210)
  const attack: Promise<unknown>[] = []
  for (let second = 0; second < 20; second += 1) {
    // Each of 24 networks sends a guess every two seconds, of which the machine hashes 9.5 in one.
    for (let network = 0; network < 24; network += 1) {
      if (network % 2 === second % 2) attack.push(errorOf(hash('login', 'x', from('failing', `${network}`, 5000))))
    }
    const startedAt = clock.now()
    const owners = (['known', 'clean'] as const).map(async (each) => {
      const error = await errorOf(hash('login', each, from(each, 'owner', 5000)))
      t.equal(error, undefined)
      t.ok(clock.now() - startedAt <= 420, `${each}: ${clock.now() - startedAt} ms`)
    })
    await clock.advance(1000)
    await Promise.all(owners)
  }
  await clock.advance(5000)
  await Promise.all(attack)
  t.ok(seen.shed.length > 0)
  t.ok(
    seen.shed.every((each) => each.endsWith('failing')),
    'the attack is shed, and no other class'
  )
})

t.test('a network with few recent hashes is before those of its class with many, for a minute or two', async (t) => {
  const { clock, from, hash, seen } = createQueue(1, 100)
  const logIn = (network: string) => hash('login', network, from('known', network, 5000))
  // An attacker with accounts of its own logs in from 24 networks.
  const attack = () => Array.from({ length: 24 }, (_, index) => errorOf(logIn(`x${index}`)))
  for (let round = 0; round < 3; round += 1) {
    const calls = attack()
    await clock.advance(2400)
    await Promise.all(calls)
  }
  const calls = attack()
  for (const count of [1, 2]) {
    const owner = logIn('owner')
    await clock.advance(100)
    t.equal(seen.started.at(-1), 'login owner', `login ${count} is the next`)
    await clock.advance(100)
    t.equal(await owner, 'owner')
  }
  await clock.advance(120_000)
  await Promise.all(calls)
  const later = ['x0', 'x1', 'owner'].map(logIn)
  await clock.advance(100)
  t.equal(seen.started.at(-1), 'login x1', 'the earlier hashes are forgotten')
  await clock.advance(300)
  await Promise.all(later)
})

t.test('a call of an idle class is expected to start next, and does', async (t) => {
  const { clock, from, hash, seen } = createQueue(1)
  const attack = ['clean', 'shed', 'failing'].flatMap((each) =>
    Array.from({ length: 5 }, (_, index) => hash('login', 'x', from(each as CallClass, `${index}`)))
  )
  await clock.advance(2500)
  // Half a second for the running hash; the wait may double.
  const known = hash('login', 'known', from('known', 'owner', 3300))
  const second = errorOf(hash('login', 'late', from('known', 'owner', 3300)))
  t.ok(isOverload(await second), 'the second call of a class waits for the first')
  await clock.advance(15_000)
  t.equal(await known, 'known')
  t.same([...seen.started.slice(0, 4)], ['login x', 'login x', 'login x', 'login known'])
  await Promise.all(attack)
})

t.test('failing networks leave a slot free; every other class, and one slot alone, is not bounded', async (t) => {
  const { clock, from, hash, seen } = createQueue(3)
  const failing = ['a', 'b', 'c', 'd'].map((network) => hash('login', 'f', from('failing', network)))
  t.equal(order(seen.started), 'ff')
  const shed = hash('registration', 's', from('shed', 'e'))
  t.equal(order(seen.started), 'ffr', 'at once')
  await clock.advance(1000)
  await shed
  t.equal(order(seen.started), 'ffrff')
  await clock.advance(1000)
  await Promise.all(failing)
  const clean = ['a', 'b', 'c', 'd'].map((network) => hash('login', 'c', from('clean', network)))
  t.equal(order(seen.started), 'ffrffccc')
  await clock.advance(2000)
  await Promise.all(clean)
  const one = createQueue(1)
  const alone = one.hash('login', 'f', one.from('failing', 'a'))
  await one.clock.advance(1000)
  t.equal(await alone, 'f')
})

t.test('the error of a shed call names its class', async (t) => {
  const { clock, from, hash } = createQueue(1)
  const running = Array.from({ length: 6 }, () => hash('login', '', from('failing', 'a')))
  const { error } = await outcome(clock, hash('login', '', from('failing', 'a', 5000)))
  t.same(reasonMetadata(error, 'common', 'OVERLOADED'), { class: 'failing' })
  const known = errorOf(hash('login', '', from('known', 'b', 9000)))
  await clock.advance(10_000)
  t.equal(await known, undefined)
  await Promise.all(running)
})
