/** Positions identify duplicates and missing lines. */

import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { noPositions, type Positions, trackPositions } from '../positions.ts'

/** Takes ranges of one source; `known` has the number of duplicates of each. */
function take(from: Positions, ...ranges: [position: number, count: number][]) {
  const tracker = trackPositions(from)
  const known = ranges.map(([position, count]) => tracker.take('svc/a', position, count))
  const { missing, duplicates } = tracker
  return { known, missing, duplicates, last: tracker.positions().last }
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
  t.equal(later.take('svc/a', 1007, 10), 0, 'a later batch continues in the gap')
  t.equal(later.take('svc/a', far - 1, 1), undefined, 'a position far behind the start of the gap is refused, too')
  t.equal(later.take('svc/a', 1017, 1), 0, 'and does not close the gap')
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
    last: [['svc/a', 21, [15, 20, 'continued']]]
  })
  const forged = take({ complete: true, last: state.last }, [5000, 1], [9000, 1], [22, 1], [23, 1])
  t.same(forged.known, [0, 0, 0, 0], 'two forged gaps in a row do not hide the source')
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
  t.equal(second.take('svc/0', 6, 5), 0, 'its lines are collected')
  t.equal(second.take('svc/2000', 4, 1), 0)
  t.match({ ...second }, { missing: 2, duplicates: 0 }, 'a gap of a known source still counts')
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
