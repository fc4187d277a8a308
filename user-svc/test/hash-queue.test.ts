/** Who hashes when: bounded, fair between the lanes, left by those who go away, and refused in time rather than too late. */

import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { isOverload, retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { createHashQueue, type HashQueueEvents, type Lane } from '../hash-queue.ts'

const hashMs = 40

function queueOf(slots: number, firstHashMs = hashMs) {
  const told = { lengths: [] as string[], waits: [] as number[], shed: [] as string[] }
  const events: HashQueueEvents = {
    length: (lane, waiting) => void told.lengths.push(`${lane} ${waiting}`),
    waited: (_lane, seconds) => void told.waits.push(seconds),
    shed: (reason) => void told.shed.push(reason)
  }
  let atOnce = 0
  const seen = { most: 0, begun: [] as string[] }
  const queue = createHashQueue(slots, firstHashMs, events)
  /** A hash that takes a while. */
  function hash(lane: Lane, name = '', budgetMs = 60_000, signal = new AbortController().signal, tookMs = hashMs) {
    const endsAt = performance.now() + budgetMs
    return queue.run(lane, { signal, timeoutMs: () => endsAt - performance.now() }, async () => {
      seen.begun.push(`${lane} ${name}`.trim())
      atOnce += 1
      seen.most = Math.max(seen.most, atOnce)
      await sleep(tookMs)
      atOnce -= 1
      return name
    })
  }
  return { queue, hash, told, seen }
}

/** Whether `work` settles before a timer of `ms`; of timers that a busy process runs late, the earlier still comes first. */
function settlesWithin(ms: number, work: Promise<unknown>): Promise<boolean> {
  return Promise.race([work.then(() => true), sleep(ms, false)])
}

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error) => ConnectError.from(error)
  )

t.test('as many at a time as there are slots, each once, in order', async (t) => {
  const { hash, seen, told } = queueOf(2)
  const names = Array.from({ length: 9 }, (_, index) => `${index}`)
  t.same(await Promise.all(names.map((name) => hash('login', name))), names)
  t.equal(seen.most, 2)
  t.same(
    seen.begun,
    names.map((name) => `login ${name}`)
  )
  t.equal(told.waits.length, 9)
  t.equal(told.lengths.at(-1), 'login 0')
})

t.test('the lanes take turns, however long one of them is', async (t) => {
  const { hash, seen } = queueOf(1)
  const logins = Array.from({ length: 8 }, (_, index) => hash('login', `${index}`))
  const registrations = [hash('registration', 'a'), hash('registration', 'b')]
  await Promise.all([...logins, ...registrations])
  t.same(seen.begun.slice(0, 5), ['login 0', 'registration a', 'login 1', 'registration b', 'login 2'])
})

t.test('whoever could not be served in time is refused at once, and told when there is room', async (t) => {
  const { queue, hash, told } = queueOf(1, 1000)
  const kept = Array.from({ length: 4 }, () => hash('login'))
  const startedAt = performance.now()
  const refused = await errorOf(hash('login', 'late', 9000))
  t.ok(performance.now() - startedAt < 1000)
  t.equal(refused?.code, Code.Unavailable)
  t.ok(isOverload(refused))
  t.equal(retryAfterSeconds(refused as ConnectError), 4, 'one hash a second, four before it')
  const prepare = (lane: Lane, budgetMs: number) =>
    errorOf(
      queue.prepare(lane, { signal: new AbortController().signal, timeoutMs: () => budgetMs }, async () => 'done')
    )
  t.equal((await prepare('login', 9000))?.code, Code.Unavailable)
  t.equal(await prepare('login', 9500), undefined)
  t.equal(await prepare('registration', 5500), undefined, 'the other lane is empty')
  t.same(told.shed, ['hash_queue_full', 'hash_queue_full'])
  await Promise.all(kept)
})

t.test(
  'of those who come at once, nothing is done for those who could not be served, who are told first',
  async (t) => {
    const { queue, told } = queueOf(1, 1000)
    const caller = { signal: new AbortController().signal, timeoutMs: () => 5500 }
    let prepared = 0
    const work = async () => {
      prepared += 1
      await sleep(50)
    }
    const all = Array.from({ length: 20 }, () => errorOf(queue.prepare('login', caller, work)))
    await Promise.all(all.slice(3))
    t.equal(prepared, 1, 'only the one that has not to wait has begun')
    const refusals = await Promise.all(all)
    t.equal(refusals.filter((each) => each === undefined).length, prepared)
    t.equal(prepared, 3, 'one hash a second, and twice the wait has to fit')
    t.equal(told.shed.length, 17)
    t.equal(await errorOf(queue.prepare('login', caller, work)), undefined, 'their places are free again')
  }
)

t.test('whoever comes alone is prepared at once, though there is a queue', async (t) => {
  const { queue, hash } = queueOf(1, 1000)
  const running = hash('login', 'running', 60_000, new AbortController().signal, 300)
  const caller = { signal: new AbortController().signal, timeoutMs: () => 9000 }
  const begun: string[] = []
  const prepare = (name: string) =>
    queue.prepare('login', caller, async () => {
      begun.push(name)
      await sleep(1)
    })
  const first = prepare('first')
  const second = prepare('second')
  await nextTurn()
  t.same(begun, ['first'])
  await Promise.all([first, second])
  const third = prepare('third')
  t.same(begun, ['first', 'second', 'third'])
  await Promise.all([third, running])
})

t.test(
  'when hashing becomes slower than was expected, those who waited are refused before their time is over',
  async (t) => {
    const { hash, told, seen } = queueOf(1, 10)
    const slow = hash('login', 'slow', 60_000, new AbortController().signal, 900)
    const patient = errorOf(hash('login', 'patient', 600))
    t.ok(await settlesWithin(600, patient), 'while its caller still listens')
    const refused = await patient
    t.equal(refused?.code, Code.Unavailable, 'certainly not begun')
    t.same(told.shed, ['hash_slow'])
    await slow
    t.same(seen.begun, ['login slow'])
  }
)

t.test('a hash that does not end in time is told as not done, while its caller still listens', async (t) => {
  const { hash, told } = queueOf(1, 10)
  const endless = errorOf(hash('login', 'endless', 400, new AbortController().signal, 1200))
  t.ok(await settlesWithin(400, endless))
  t.equal((await endless)?.code, Code.Unavailable)
  t.same(told.shed, ['hash_slow'])
  t.equal(
    (await errorOf(hash('login', 'next', 500)))?.code,
    Code.Unavailable,
    'what is slow now is expected to be slow'
  )
  t.same(told.shed, ['hash_slow', 'hash_queue_full'])
})

t.test('a caller that goes away leaves the queue; a hash that runs keeps its slot', async (t) => {
  const { queue, hash, seen, told } = queueOf(1)
  const [gone, leaving] = [new AbortController(), new AbortController()]
  const running = errorOf(hash('login', 'running', 60_000, gone.signal))
  const waiting = errorOf(hash('login', 'waiting', 60_000, leaving.signal))
  const last = hash('login', 'last')
  leaving.abort()
  gone.abort(deadlineExceeded())
  t.equal((await waiting)?.code, Code.Canceled)
  t.equal((await running)?.code, Code.DeadlineExceeded, 'it need not wait for what it cannot use')
  t.notOk(queue.isIdle(), 'the core is still taken')
  t.equal(await last, 'last')
  t.same(seen.begun, ['login running', 'login last'])
  t.equal(seen.most, 1)
  t.equal(told.lengths.at(-1), 'login 0')
  const aborted = AbortSignal.abort(deadlineExceeded())
  t.equal((await errorOf(hash('login', 'dead', 100, aborted)))?.code, Code.DeadlineExceeded)
})

t.test('a hash that fails gives its slot back', async (t) => {
  const { queue, hash } = queueOf(1)
  const caller = { signal: new AbortController().signal, timeoutMs: () => 1000 }
  await t.rejects(queue.run('login', caller, () => Promise.reject(new TypeError('broken'))))
  t.ok(queue.isIdle())
  t.equal(await hash('login', 'next'), 'next')
})

t.test('a hash that was not computed does not make the expected time of a hash shorter', async (t) => {
  const { queue, hash } = queueOf(1, 1000)
  const caller = { signal: new AbortController().signal, timeoutMs: () => 60_000 }
  for (let count = 0; count < 50; count += 1) {
    await errorOf(queue.run('login', caller, () => Promise.reject(new TypeError('the caller disconnected'))))
  }
  const running = Array.from({ length: 3 }, () => hash('login'))
  t.equal((await errorOf(hash('login', 'late', 3000)))?.code, Code.Unavailable, 'three seconds of hashes are ahead')
  await Promise.all(running)
})
