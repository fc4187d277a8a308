/** Pending uses: batched, retried, and valid on this instance before they are written. */

import { mock } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { createPendingUses } from '../pending-uses.ts'

/** Pending uses whose writes the test ends. */
function pendingUses(t: Test) {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const writes: { hash: string; usedAt: number; succeed(): void; fail(): void }[] = []
  const lines: string[] = []
  const log = createLogger('session-svc', 'info', { write: (line) => void lines.push(line) })
  const uses = createPendingUses(
    ({ hash, usedAt }) =>
      new Promise((resolve, reject) => {
        writes.push({ hash, usedAt, succeed: () => resolve(1), fail: () => reject(new Error('refused')) })
      }),
    log
  )
  return { uses, writes, lines }
}

t.test('a use counts until it is written', async (t) => {
  const { uses, writes } = pendingUses(t)
  t.equal(uses.lastUse('a'), 0)
  uses.record('user', 'a', 5)
  t.equal(uses.lastUse('a'), 5)
  writes[0]?.succeed()
  await nextTurn()
  t.equal(uses.lastUse('a'), 0)
})

t.test('a later use during a write is written after it', async (t) => {
  const { uses, writes } = pendingUses(t)
  uses.record('user', 'a', 5)
  uses.record('user', 'a', 7)
  uses.record('user', 'a', 6)
  t.equal(writes.length, 1)
  writes[0]?.succeed()
  await nextTurn()
  t.match(writes[1], { hash: 'a', usedAt: 7 })
})

t.test('at most 64 writes are in flight', async (t) => {
  const { uses, writes } = pendingUses(t)
  for (let count = 0; count < 100; count += 1) uses.record('user', `${count}`, 1)
  t.equal(writes.length, 64)
  writes[0]?.succeed()
  await nextTurn()
  t.equal(writes.length, 65)
})

t.test('a failed write is logged once and retried after a second', async (t) => {
  const { uses, writes, lines } = pendingUses(t)
  uses.record('user', 'a', 5)
  for (const attempt of [0, 1]) {
    writes[attempt]?.fail()
    await nextTurn()
    t.equal(writes.length, attempt + 1, 'no retry at once')
    t.equal(uses.lastUse('a'), 5)
    mock.timers.tick(1000)
    t.equal(writes.length, attempt + 2)
  }
  t.equal(lines.length, 1)
  t.match(lines[0], 'session_touch_failed')
})

t.test('a write without a reply within a second fails', async (t) => {
  const { uses, writes, lines } = pendingUses(t)
  uses.record('user', 'a', 5)
  mock.timers.tick(1000)
  await nextTurn()
  t.match(lines[0], 'session_touch_failed')
  mock.timers.tick(1000)
  t.equal(writes.length, 2)
})

t.test('a failing use is retried once a second and logged once while others succeed', async (t) => {
  const { uses, writes, lines } = pendingUses(t)
  uses.record('user', 'failing', 1)
  writes[0]?.fail()
  await nextTurn()
  for (let second = 1; second <= 3; second += 1) {
    for (let count = 0; count < 10; count += 1) {
      uses.record('user', `${second} ${count}`, 1)
      writes.at(-1)?.succeed()
      await nextTurn()
    }
    mock.timers.tick(1000)
    const attempts = writes.filter(({ hash }) => hash === 'failing')
    t.equal(attempts.length, 1 + second)
    attempts.at(-1)?.fail()
    await nextTurn()
  }
  t.equal(lines.length, 1)
  t.equal(uses.lastUse('failing'), 1)
})
