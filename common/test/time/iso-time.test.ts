/** Times are written as `Date` writes them. */

import t from 'tap'
import { isoTime } from '#common/time/iso-time.ts'

t.test('a time is written as Date does, before 1970 and beyond the year 9999 too', async (t) => {
  const [first, last] = [-8.64e15, 8.64e15]
  const edges = [0, -1, 1, 999, 1000, 59_999, 86_399_999, 86_400_000, -86_400_001, 951_782_400_000, 253_402_300_800_000]
  const random = Array.from({ length: 5000 }, () => Math.floor(first + Math.random() * (last - first)))
  const recent = Array.from({ length: 5000 }, () => Math.floor(1.7e12 + Math.random() * 1e11))
  const wrong = [first, last, ...edges, ...random, ...recent].filter((ms) => isoTime(ms) !== new Date(ms).toISOString())
  t.same(wrong, [])
})

t.test('what is no time is refused', async (t) => {
  for (const ms of [Number.NaN, Number.POSITIVE_INFINITY, 8.64e15 + 86_400_000]) t.throws(() => isoTime(ms), RangeError)
})
