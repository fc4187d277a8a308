/** The last collected position of each source: a repeated position is a duplicate, a skipped one is a missing line. */

/** The last positions of the sources of a partition, the least recent source first. */
export interface Positions {
  /** False if sources may have been forgotten: an unknown source may then start at any position. */
  complete: boolean
  last: [source: string, position: number][]
}

/** The positions of a partition that no sink has collected. */
export const noPositions: Positions = { complete: true, last: [] }

// A source repeats lines only while it lives or is adopted. A forgotten source that returns starts at its next record:
// no line counts as missing, and a repeated line is collected again.
const maxSources = 2000

/** Tracks the sources of a partition through one batch. */
export interface PositionTracker {
  missing: number
  duplicates: number
  /**
   * Takes `count` lines that start at a position.
   *
   * @returns the number of lines, from the first one on, that had been collected before
   */
  take(source: string, position: number, count: number): number
  positions(): Positions
}

/** Continues from the positions of an earlier batch. */
export function trackPositions({ complete, last }: Positions): PositionTracker {
  const sources = new Map(last)
  return {
    missing: 0,
    duplicates: 0,
    take(source, position, count) {
      const reached = sources.get(source) ?? (complete ? 0 : position - 1)
      const known = Math.min(Math.max(reached - position + 1, 0), count)
      this.duplicates += known
      this.missing += Math.max(position - reached - 1, 0)
      sources.delete(source)
      sources.set(source, Math.max(reached, position + count - 1))
      return known
    },
    positions() {
      const all = [...sources]
      const last = all.slice(-maxSources)
      return { complete: complete && last.length === all.length, last }
    }
  }
}
