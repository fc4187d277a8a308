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
