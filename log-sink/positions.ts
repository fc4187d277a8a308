/** The collected positions of each source: a repeated position is a duplicate, a skipped one is a missing line. */

/** The last positions of the sources of a partition, the least recent source first. */
export interface Positions {
  /** False if sources may have been forgotten: an unknown source may then start at any position. */
  complete: boolean
  last: [source: string, position: number, gap?: Gap][]
}

/**
 * Positions that a source has skipped. If a forged record has caused the gap, the lines of the real source come into it,
 * and are collected.
 *
 * - `from`: the first missing position, `to`: the first position behind the gap
 * - `state`: whether the source has continued behind the gap, or resumed in it. A later gap replaces a gap behind which the
 *   source has continued; two forged records in a row therefore do not hide the real source.
 */
export type Gap = [from: number, to: number, state: 'new' | 'continued' | 'resumed']

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
  duplicates: number
  /**
   * Takes `count` lines that start at a position.
   *
   * @returns the number of lines, from the first one on, that had been collected before; undefined if the position is
   *   too far ahead. The next record of the source may continue before or behind it.
   */
  take(source: string, position: number, count: number): number | undefined
  positions(): Positions
}

interface SourceState {
  reached: number
  gap?: Gap | undefined
}

/** Continues from the positions of an earlier batch. */
export function trackPositions({ complete, last }: Positions): PositionTracker {
  const sources = new Map(last.map(([source, reached, gap]) => [source, { reached, gap } as SourceState]))
  return {
    missing: 0,
    duplicates: 0,
    take(source, position, count) {
      const state = sources.get(source) ?? { reached: complete ? 0 : position - 1 }
      const { gap } = state
      const isInGap = gap !== undefined && position < gap[1]
      const reached = isInGap ? gap[0] - 1 : state.reached
      const known = Math.min(Math.max(reached - position + 1, 0), count)
      const skipped = Math.max(position - reached - 1, 0)
      const end = Math.max(reached, position + count - 1)
      sources.delete(source)
      if (known === count) sources.set(source, state)
      else
        sources.set(source, isInGap ? continueInGap(state, gap, position, end) : continueBehind(state, position, end))
      this.duplicates += known
      if (skipped > maxSkipped) return undefined
      if (!isInGap) this.missing += skipped
      return known
    },
    positions() {
      const all = [...sources].map(([source, { reached, gap }]): Positions['last'][number] =>
        gap ? [source, reached, gap] : [source, reached]
      )
      const last = all.slice(-maxSources)
      return { complete: complete && last.length === all.length, last }
    }
  }
}

/** A forged record in the gap must not close it, so only the first missing position moves its start. */
function continueInGap({ reached }: SourceState, [from, to]: Gap, position: number, end: number): SourceState {
  if (position > from) return { reached, gap: [from, to, 'resumed'] }
  const next = Math.max(from, end + 1)
  return next < to ? { reached, gap: [next, to, 'resumed'] } : { reached: Math.max(reached, end) }
}

function continueBehind({ reached, gap }: SourceState, position: number, end: number): SourceState {
  const isGap = position > reached + 1
  if (isGap && (gap === undefined || gap[2] === 'continued')) {
    return { reached: end, gap: [reached + 1, position, 'new'] }
  }
  const continues = gap?.[2] === 'new' && position === reached + 1
  return { reached: end, gap: continues ? [gap[0], gap[1], 'continued'] : gap }
}
