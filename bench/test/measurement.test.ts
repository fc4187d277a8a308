/** The arithmetic of the bench: middles, percentiles, ratios, rates, and turns. */

import t from 'tap'
import { alternate, completionRate, median, percentile, ratios, spread, table } from '../measurement.ts'

t.test('the median is the middle figure, or between the two in the middle', async (t) => {
  t.equal(median([9, 1, 5]), 5)
  t.equal(median([9, 1, 5, 6]), 5.5)
  t.ok(Number.isNaN(median([])))
})

t.test('a percentile is a figure that was measured, never one in between', async (t) => {
  const figures = Array.from({ length: 200 }, (_, index) => 200 - index)
  t.equal(percentile(figures, 99), 198)
  t.equal(percentile(figures, 99.9), 200)
  t.equal(percentile(figures, 50), 100)
  t.equal(percentile(figures, 0), 1)
  t.equal(percentile([7], 99), 7)
})

t.test('a slow round is slow for both sides of a ratio', async (t) => {
  t.same(ratios([90, 45], [100, 50]), [0.9, 0.9])
})

t.test('a rate is from the first to the last completion that counts', async (t) => {
  // Ten a second; the last two are late because the others had stopped.
  const completedAtMs = [1000, 1100, 1200, 1300, 1400, 2000, 2900]
  t.equal(completionRate(completedAtMs, 2), 10)
  t.equal(completionRate(completedAtMs.toReversed(), 2), 10, 'in whatever order they are told')
  t.equal(completionRate([1000], 0), 0)
  t.equal(completionRate([], 2), 0)
})

t.test('variants take turns, and every other round is backwards', async (t) => {
  const order: string[] = []
  const variant = (name: string) => async () => order.push(name)
  const results = await alternate(3, { a: variant('a'), b: variant('b') })
  t.same(order, ['a', 'b', 'b', 'a', 'a', 'b'])
  t.same(results, { a: [1, 4, 5], b: [2, 3, 6] })
})

t.test('a spread says the middle and how far it goes; one figure has none', async (t) => {
  t.equal(spread([12_000, 11_500.4, 12_300]), '12,000 (11,500–12,300)')
  t.equal(spread([0.951], 2), '0.95')
})

t.test('a row without a goal neither passes nor fails', async (t) => {
  const row = { what: 'this', goal: '≥ 1', value: '2', from: 'that' }
  const [, passed, failed, neither] = table([
    { ...row, passed: true },
    { ...row, passed: false },
    { ...row, passed: undefined }
  ]).split('\n')
  t.match(passed, /pass/)
  t.match(failed, /FAIL/)
  t.notMatch(neither, /pass|FAIL/)
})
