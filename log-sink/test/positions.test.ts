/** Positions identify duplicates and missing lines. */

import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { noPositions, type Positions, type PositionTracker, trackPositions } from '../positions.ts'

/** Takes ranges of one source; `known` has the number of duplicates of each. */
function take(from: Positions, ...ranges: [position: number, count: number][]) {
  const tracker = trackPositions(from)
  const known = ranges.map(([position, count]) => duplicatesOf(tracker, 'svc/a', position, count))
  const duplicates = known.reduce<number>((sum, each) => sum + (each ?? 0), 0)
  return { known, missing: tracker.missing, duplicates, last: tracker.positions().last }
}

/** Undefined if the position is refused. */
function duplicatesOf(tracker: PositionTracker, source: string, position: number, count: number) {
  return tracker.take(source, position, count)?.reduce((left, [from, to]) => left - (to - from + 1), count)
}

t.test('consecutive lines are new', async (t) => {
  t.same(take(noPositions, [1, 5], [6, 1], [7, 100]), {
    known: [0, 0, 0],
    missing: 0,
    duplicates: 0,
    last: [['svc/a', 106]]
  })
})

t.test('repeated lines are duplicates, wholly or in part', async (t) => {
  t.match(take(noPositions, [1, 10], [1, 10], [6, 10], [3, 2]), { known: [0, 10, 5, 2], missing: 0, duplicates: 17 })
})

t.test('skipped positions are missing lines', async (t) => {
  t.match(take(noPositions, [4, 1], [6, 1]), { known: [0, 0], missing: 4, duplicates: 0 })
})

t.test('a position that is too far ahead is refused, and the source continues before or behind it', async (t) => {
  const far = 9e14
  const state = take(noPositions, [1, 1000], [far, 1], [1001, 5], [1006, 1], [far, 1], [far + 1, 3], [1003, 4])
  t.same(state, {
    known: [0, undefined, 0, 0, 1, 0, 4],
    missing: 0,
    duplicates: 5,
    last: [['svc/a', far + 3, [1007, far, 'resumed']]]
  })
  const later = trackPositions({ complete: true, last: state.last })
  t.equal(duplicatesOf(later, 'svc/a', 1007, 10), 0, 'a later batch continues in the gap')
  t.equal(
    duplicatesOf(later, 'svc/a', far - 1, 1),
    undefined,
    'a position far behind the start of the gap is refused, too'
  )
  t.equal(duplicatesOf(later, 'svc/a', 1017, 1), 0, 'and does not close the gap')
})

t.test('lines that fill a gap are new', async (t) => {
  t.match(take(noPositions, [1, 1000], [2000, 1], [1001, 999], [2001, 1]), {
    known: [0, 0, 0, 0],
    missing: 999,
    last: [['svc/a', 2001]]
  })
})

t.test('a source that loses lines again and again has one gap', async (t) => {
  const state = take(noPositions, [1, 10], [12, 2], [14, 1], [20, 1], [21, 1], [5, 4])
  t.same(state, {
    known: [0, 0, 0, 0, 0, 4],
    missing: 6,
    duplicates: 4,
    last: [['svc/a', 21, [15, 20, 'resumed']]]
  })
  const forged = take({ complete: true, last: state.last }, [5000, 1], [9000, 1], [22, 1], [23, 1])
  t.same(forged.known, [0, 0, 0, 0], 'two forged gaps in a row do not hide the source')
})

t.test('three forged positions in a row do not hide the source', async (t) => {
  const far = 9e14
  const refused = take(noPositions, [1, 1000], [far, 1], [far + 1, 1], [far + 1e13, 1], [1001, 10], [1011, 10])
  t.same(refused.known, [0, undefined, 0, undefined, 0, 0])
  const jumps = take(noPositions, [1, 1000], [1e7, 1], [1e7 + 1, 1], [2e7, 1], [1001, 10], [1011, 10])
  t.same(jumps.known, [0, 0, 0, 0, 0, 0], 'nor do jumps that are not refused')
})

t.test('a gap is closed when as many lines are behind it as it is wide', async (t) => {
  const before = take(noPositions, [1, 10], [21, 9])
  t.same(before.last, [['svc/a', 29, [11, 21, 'resumed']]])
  const at = (last: Positions['last'], ...ranges: [number, number][]) => take({ complete: true, last }, ...ranges)
  t.match(at(before.last, [11, 1]), { known: [0] })
  t.match(at(before.last, [30, 1], [11, 1]), { known: [0, 1], last: [['svc/a', 30]] })
  const behind = take(noPositions, [1, 10], [1000, 1], [12, 500], [512, 1])
  t.same(behind.known, [0, 0, 0, 0], 'lines that have closed a gap do not count for the next one')
})

t.test('the least recent of more than eight ranges is forgotten, and the source continues', async (t) => {
  const own: [number, number][] = [
    [1, 1000],
    [1.6e7, 10],
    [3.2e7, 10]
  ]
  const forged = (base: number) => Array.from({ length: 9 }, (_, index): [number, number] => [(index + 1) * base, 1])
  const above = take(noPositions, ...own, ...forged(1e14), [3.2e7 + 10, 5], [3.2e7 + 15, 5], [1001, 5], [1, 1005])
  t.same(above.known.slice(-4), [0, 0, 0, 1005], 'in a gap')
  t.equal(above.last[0]?.[3]?.ranges.length, 8)
  t.same(take({ complete: true, last: above.last }, [9.9e14, 1]).known, [undefined], 'a jump is still refused')
  const below = take(noPositions, ...own, ...forged(1e6), [3.2e7 + 10, 5], [3.2e7 + 5, 5])
  t.same(below.known.slice(-2), [0, 5], 'at its highest range, which is not forgotten')
})

t.test('a record that overlaps collected ranges adds the lines between them', async (t) => {
  const tracker = trackPositions(noPositions)
  tracker.take('svc/a', 1, 10)
  tracker.take('svc/a', 21, 5)
  tracker.take('svc/a', 41, 5)
  t.same(tracker.take('svc/a', 6, 50), [
    [11, 20],
    [26, 40],
    [46, 55]
  ])
  t.same(tracker.positions().last, [['svc/a', 55]])
})

t.test('a forged first record of a forgotten source does not hide it', async (t) => {
  const partly = { complete: false, last: [['svc/b', 3]] } satisfies Positions
  t.match(take(partly, [9e14, 1], [5e7, 5], [5e7 + 5, 5]), { known: [0, 0, 0], missing: 0 })
})

t.test('positions of an earlier version are continued', async (t) => {
  for (const state of ['new', 'continued', 'resumed'] as const) {
    const earlier: Positions = { complete: true, last: [['svc/a', 29, [11, 21, state]]] }
    t.match(take(earlier, [30, 5], [9e14, 1], [15, 1], [35, 1]), { known: [0, undefined, 1, 0] }, state)
    t.match(take(earlier, [9, 4], [21, 9], [30, 1]), { known: [2, 9, 0] }, state)
  }
})

t.test('an unknown source may start anywhere if sources have been forgotten', async (t) => {
  const partly = { complete: false, last: [['svc/b', 3]] } satisfies Positions
  t.match(take(partly, [100, 5], [103, 5]), { known: [0, 2], missing: 0, duplicates: 2 })
})

fieldCase(t, 30, 'a source that returns after 2,000 other sources counts no line as missing', async (t) => {
  const first = trackPositions(noPositions)
  first.take('svc/0', 1, 5)
  for (let index = 1; index <= 2000; index += 1) first.take(`svc/${index}`, 1, 1)
  // Each batch starts with the checkpoint of the previous batch.
  const second = trackPositions(first.positions())
  t.equal(duplicatesOf(second, 'svc/0', 6, 5), 0, 'its lines are collected')
  t.equal(duplicatesOf(second, 'svc/2000', 4, 1), 0)
  t.equal(second.missing, 2, 'a gap of a known source still counts')
})

t.test('tracks each source, and forgets the least recent ones first', async (t) => {
  const tracker = trackPositions(noPositions)
  for (let index = 0; index < 2500; index += 1) tracker.take(`svc/${index}`, 1, index + 1)
  tracker.take('svc/600', 602, 1)
  const { last } = tracker.positions()
  t.equal(last.length, 2000)
  t.same(last.at(-1), ['svc/600', 602])
  t.same(last[0], ['svc/500', 501])
})
