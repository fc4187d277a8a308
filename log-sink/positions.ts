/** The positions of all sources of a partition: a repeated position is a duplicate, a skipped one is a missing line. */

import { addRange, type CollectedPositions, gapBefore, type Range, uncollected } from './collected-positions.ts'

/** The last positions of the sources of a partition, the least recent source first. */
export interface Positions {
  /** False if sources may have been forgotten: an unknown source may then start at any position. */
  complete: boolean
  last: SourcePositions[]
}

/**
 * The stored positions of a source. Earlier versions read and write the first three: all positions up to the last one are
 * collected, except those of the gap.
 */
export type SourcePositions = [source: string, last: number, gap?: Gap, behindGaps?: BehindGaps]

/** The first missing position, the first position behind the gap, and a state that earlier versions need. */
export type Gap = [from: number, to: number, state: 'new' | 'continued' | 'resumed']

/** The ranges behind gaps, unless there is only one. */
export type BehindGaps = Pick<CollectedPositions, 'ranges' | 'isPartial'>

/** The positions of a partition that no sink has collected. */
export const noPositions: Positions = { complete: true, last: [] }

// A source repeats lines only while it lives or is adopted. A forgotten source that returns starts at its next record:
// no line counts as missing, and a repeated line is collected again.
const maxSources = 2000

/** More lines than a spool of 1 GiB holds: a source skips as many only if its brokers were unavailable for hours. */
export const maxSkipped = 2 ** 24

/** Tracks the sources of a partition through one batch. */
export interface PositionTracker {
  missing: number
  /**
   * Takes `count` lines that start at a position.
   *
   * @returns the positions that had not been collected before; undefined if the first position is too far ahead. The next
   *   record of the source may continue before or behind it.
   */
  take(source: string, position: number, count: number): Range[] | undefined
  positions(): Positions
}

/** Continues from the positions of an earlier batch. */
export function trackPositions({ complete, last }: Positions): PositionTracker {
  const sources = new Map(last.map((each) => [each[0], decode(each)]))
  return {
    missing: 0,
    take(source, position, count) {
      const known = sources.get(source)
      const state = known ?? { upTo: 0, ranges: [], isPartial: !complete }
      const range: Range = [position, position + count - 1]
      const skipped = known || complete ? countSkipped(state, position) : 0
      sources.delete(source)
      sources.set(source, addRange(state, range))
      if (skipped === undefined) return undefined
      this.missing += skipped
      return uncollected(state, range)
    },
    positions() {
      const all = [...sources].map(([source, state]) => encode(source, state))
      const last = all.slice(-maxSources)
      return { complete: complete && last.length === all.length, last }
    }
  }
}

/** The number of lines that are missing before a position; undefined if they are too many. */
function countSkipped(state: CollectedPositions, position: number): number | undefined {
  const { skipped, width } = gapBefore(state, position)
  // The record behind the gap has counted them. A wider gap is behind a refused record, or contained a forgotten range.
  if (width <= maxSkipped) return 0
  if (skipped <= maxSkipped) return skipped
  // The highest range is never forgotten.
  return state.isPartial && width < Number.POSITIVE_INFINITY ? 0 : undefined
}

function decode([, last, gap, behindGaps]: SourcePositions): CollectedPositions {
  if (gap === undefined) return { upTo: last, ranges: [], isPartial: false }
  const [from, to] = gap
  return { upTo: from - 1, ranges: [[to, last]], isPartial: false, ...behindGaps }
}

function encode(source: string, { upTo, ranges, isPartial }: CollectedPositions): SourcePositions {
  const highest = ranges.toSorted(([a], [b]) => a - b).at(-1)
  if (highest === undefined) return [source, upTo]
  const [from, to] = highest
  // Earlier versions never replace a gap of this state.
  const gap: Gap = [upTo + 1, from, 'resumed']
  return ranges.length === 1 && !isPartial ? [source, to, gap] : [source, to, gap, { ranges, isPartial }]
}
