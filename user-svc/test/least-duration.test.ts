/** Work with a least duration. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { createTestClock } from '#common/testing/test-clock.ts'
import { atLeastMs } from '../least-duration.ts'

t.test('resolves with the result, not before the least duration', async (t) => {
  const clock = createTestClock()
  let result: string | undefined
  const waiting = atLeastMs(5, Promise.resolve('done'), clock).then((value) => {
    result = value
  })
  await clock.advance(4)
  t.equal(result, undefined)
  await clock.advance(1)
  await waiting
  t.equal(result, 'done')
})

t.test('does not extend longer work', async (t) => {
  const clock = createTestClock()
  const { promise, resolve } = Promise.withResolvers<string>()
  const waiting = atLeastMs(5, promise, clock)
  await clock.advance(60)
  resolve('late')
  t.equal(await waiting, 'late')
})

t.test('rejects at once', async (t) => {
  const clock = createTestClock()
  await t.rejects(atLeastMs(5, Promise.reject(new Error('refused')), clock), { message: 'refused' })
  await nextTurn()
})
