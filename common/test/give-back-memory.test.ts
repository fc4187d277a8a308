/** A thread that was busy gives back its garbage once it rests. */

import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { giveBackMemory, whenRested } from '../give-back-memory.ts'

t.test('a rest is noticed once after the start and once after each load', async (t) => {
  const rests: string[] = []
  let now = 'start'
  whenRested(() => rests.push(now), 7)
  await sleep(7500)
  t.same(rests, ['start'])
  now = 'rest'
  await sleep(6500)
  now = 'load'
  const busyUntil = performance.now() + 3000
  while (performance.now() < busyUntil) {
    spin(20)
    await sleep(1)
  }
  now = 'after'
  await sleep(5500)
  t.same(rests, ['start'], 'a pause is no rest')
  await sleep(4500)
  t.same(rests, ['start', 'after'])
})

t.test('garbage that has grown old is given back', async (t) => {
  let kept: object[] | undefined = Array.from({ length: 200_000 }, () => ({ of: {} }))
  giveBackMemory()
  const { heapTotal } = process.memoryUsage()
  t.equal(kept.length, 200_000)
  kept = undefined
  await sleep(7500)
  t.ok(process.memoryUsage().heapTotal < heapTotal - 5e6)
})

function spin(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}
