/** The shares of the hash queue: classes by weight, networks in turns, a free slot beside failing networks. Only `advance` moves the clock. */

import t from 'tap'
import { isOverload, reasonMetadata } from '#common/errors/connect-errors.ts'
import type { CallClass } from '../../passwords/fair-queue.ts'
import { createQueue, errorOf, outcome } from './hash-queue-bed.ts'

/** The first letters of the started calls: the class or network of each. */
const order = (started: string[]) => started.map((each) => each.replace('login ', '')[0]).join('')

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

t.test('an admitted call is served, although others with fewer hashes overtake it', async (t) => {
  const { clock, from, hash, seen } = createQueue(2, 210)
  let isOver = false
  async function keepLoggingIn(network: string): Promise<void> {
    while (!isOver) {
      await errorOf(hash('login', 'k', from('known', network, 5000)))
      await clock.sleep(20)
    }
  }
  const clients = Array.from({ length: 64 }, (_, network) => keepLoggingIn(`${network}`))
  for (let ms = 0; ms < 20_000; ms += 10) await clock.advance(10)
  isOver = true
  await clock.advance(10_000)
  await Promise.all(clients)
  t.ok(seen.started.length > 180, `${seen.started.length} calls were served`)
  t.same(
    seen.shed.filter((reason) => reason.startsWith('hash_slow')),
    []
  )
})
