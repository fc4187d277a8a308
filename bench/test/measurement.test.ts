/** The statistics of the bench, the order of variants, and the table. */

import t from 'tap'
import { alternate, completionRate, median, percentile, ratios, spread, table } from '../measurement.ts'

t.test('the median of an even number of figures is between the middle two', async (t) => {
  t.equal(median([9, 1, 5]), 5)
  t.equal(median([9, 1, 5, 6]), 5.5)
  t.ok(Number.isNaN(median([])))
})

t.test('a percentile is a measured figure, without interpolation', async (t) => {
  const figures = Array.from({ length: 200 }, (_, index) => 200 - index)
  t.equal(percentile(figures, 99), 198)
  t.equal(percentile(figures, 99.9), 200)
  t.equal(percentile(figures, 50), 100)
  t.equal(percentile(figures, 0), 1)
  t.equal(percentile([7], 99), 7)
})

t.test('ratios compare figures of the same round', async (t) => {
  t.same(ratios([90, 45], [100, 50]), [0.9, 0.9])
})

t.test('completionRate ignores the last completions', async (t) => {
  // Ten a second; the last two are late, when other workers had stopped.
  const completedAtMs = [1000, 1100, 1200, 1300, 1400, 2000, 2900]
  t.equal(completionRate(completedAtMs, 2), 10)
  t.equal(completionRate(completedAtMs.toReversed(), 2), 10, 'in any order')
  t.equal(completionRate([1000], 0), 0)
  t.equal(completionRate([], 2), 0)
})

t.test('alternate reverses the order of variants every other round', async (t) => {
  const order: string[] = []
  const variant = (name: string) => async () => order.push(name)
  const results = await alternate(3, { a: variant('a'), b: variant('b') })
  t.same(order, ['a', 'b', 'b', 'a', 'a', 'b'])
  t.same(results, { a: [1, 4, 5], b: [2, 3, 6] })
})

t.test('a spread has median, minimum and maximum; that of one figure is the figure', async (t) => {
  t.equal(spread([12_000, 11_500.4, 12_300]), '12,000 (11,500–12,300)')
  t.equal(spread([0.951], 2), '0.95')
})

t.test('a row without a goal neither passes nor fails', async (t) => {
  const row = { name: 'this', goal: '≥ 1', value: '2', details: 'that' }
  const [, passed, failed, neither] = table([
    { ...row, passed: true },
    { ...row, passed: false },
    { ...row, passed: undefined }
  ]).split('\n')
  t.match(passed, /pass/)
  t.match(failed, /FAIL/)
  t.notMatch(neither, /pass|FAIL/)
})
