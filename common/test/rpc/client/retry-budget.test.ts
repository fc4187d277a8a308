/** The retry budget on a clock that the test advances. */

import t from 'tap'
import { createRetryBudget } from '#common/rpc/client/retry.ts'
import { createTestClock } from '#common/testing/test-clock.ts'

t.test('allows retries for a tenth of the calls of the last ten seconds, and always one', async (t) => {
  const clock = createTestClock()
  const budget = createRetryBudget(clock)
  const granted = (tries: number) => Array.from({ length: tries }, () => budget.mayRetry()).filter(Boolean).length
  const call = (times: number) => Array.from({ length: times }, () => budget.called())
  t.equal(granted(10), 1, 'one without any call')
  call(100)
  t.equal(granted(100), 9, 'ten with the first')
  await clock.advance(5000)
  call(100)
  t.equal(granted(100), 10)
  await clock.advance(5000)
  t.equal(granted(100), 0, 'the second hundred has used its budget, the first hundred is out of the window')
  await clock.advance(6000)
  t.equal(granted(100), 1)
  await clock.advance(44_000)
  t.equal(granted(100), 1)
})
