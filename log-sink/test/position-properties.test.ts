/** Properties of positions: forged records cannot silence a source, and each line of a source is collected once. */

import fc from 'fast-check'
import t from 'tap'
import { decodeCommit, encodeCommit } from '../checkpoint.ts'
import { noPositions, type Positions, trackPositions } from '../positions.ts'

const source = 'svc/a'
const countOf = (ranges: [from: number, to: number][]) => ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0)

/** The positions that the next owner of the partition has. */
function handOver(positions: Positions): Positions {
  const next = decodeCommit(encodeCommit({ positions, ownershipHistory: [] }))?.positions
  if (next === undefined) throw new Error('the commit was not decoded')
  return next
}

/** The next batch begins with the positions of the last one, or of a commit, or after the sink has forgotten the source. */
const nextStart = fc.oneof(
  { weight: 6, arbitrary: fc.constant('same' as const) },
  { weight: 3, arbitrary: fc.constant('commit' as const) },
  { weight: 1, arbitrary: fc.constant('forgotten' as const) }
)
const starts = {
  same: (positions: Positions) => positions,
  commit: handOver,
  forgotten: (): Positions => ({ complete: false, last: [] })
}

t.test('a forged line hides at most two lines of the source, which is not refused until it is forgotten', async (t) => {
  const near = fc.integer({ min: -30, max: 30 })
  const forged = fc.record({
    // Relative to the next position of the source, to the last forged position, or neither.
    base: fc.constantFrom('source', 'forged', 'none'),
    offset: fc.oneof(near, near, fc.constantFrom(300, 2 ** 24 - 1, 2 ** 24 + 1), fc.integer({ min: 1, max: 9e14 })),
    count: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 400 }))
  })
  const own = fc.record({ lost: fc.constantFrom(0, 0, 0, 1, 20, 1000), lines: fc.integer({ min: 1, max: 30 }) })
  const step = fc.record({ forged: fc.array(forged, { maxLength: 12 }), own, nextStart })
  const start = fc.constantFrom<number>(1, 1, 1000, 5e7)
  const property = fc.property(start, fc.array(step, { minLength: 1, maxLength: 12 }), (first, steps) => {
    let positions: Positions = first === 1 ? noPositions : { complete: true, last: [[source, first - 1]] }
    let next = first
    let lastForged = first
    let forgedLines = 0
    let hidden = 0
    let mayRefuse = 0
    for (const { forged, own, nextStart } of steps) {
      const tracker = trackPositions(positions)
      for (const { base, offset, count } of forged) {
        const from = { source: next, forged: lastForged, none: 0 }[base] + offset
        lastForged = Math.min(Math.max(from, 1), 9.9e14)
        tracker.take(source, lastForged, count)
        lastForged += count
        forgedLines += count
      }
      next += own.lost
      const added = tracker.take(source, next, own.lines)
      if (added === undefined) mayRefuse -= 1
      else hidden += own.lines - countOf(added)
      next += own.lines
      positions = starts[nextStart](tracker.positions())
      if (nextStart === 'forgotten') mayRefuse += 1
    }
    return hidden <= 2 * forgedLines && mayRefuse >= 0
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 600 }))
})

t.test('lines of a source are collected once, and its lost lines are counted', async (t) => {
  const step = fc.record({
    lost: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 60 })),
    lines: fc.integer({ min: 1, max: 20 }),
    // A killed producer repeats its last records, from any of their lines on.
    repeated: fc.nat(5),
    cut: fc.nat(19)
  })
  const isStored = fc.boolean()
  const property = fc.property(fc.array(fc.tuple(step, isStored), { maxLength: 60 }), (steps) => {
    let positions = noPositions
    let next = 1
    let lines = 0
    let lost = 0
    let collected = 0
    let missing = 0
    const records: [position: number, count: number][] = []
    for (const [step, isStored] of steps) {
      const tracker = trackPositions(positions)
      next += step.lost
      lost += step.lost
      records.push([next, step.lines])
      next += step.lines
      lines += step.lines
      collected += countOf(tracker.take(source, ...(records.at(-1) as [number, number])) ?? [])
      for (const [position, count] of step.repeated > 0 ? records.slice(-step.repeated) : []) {
        const cut = Math.min(step.cut, count - 1)
        collected += countOf(tracker.take(source, position + cut, count - cut) ?? [])
      }
      missing += tracker.missing
      positions = isStored ? handOver(tracker.positions()) : tracker.positions()
    }
    return collected === lines && missing === lost
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 400 }))
})
