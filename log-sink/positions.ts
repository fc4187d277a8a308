/** How far the lines of each source have been collected: what comes again is a duplicate, what is skipped is missing. */

/** The last positions of the sources of a partition, those heard of longest ago first. */
export interface Positions {
  /** False if some sources may have been forgotten: then one that is not known may have begun anywhere. */
  complete: boolean
  last: [source: string, position: number][]
}

/** Nothing has been collected of the partition, by anyone. */
export const noPositions: Positions = { complete: true, last: [] }

// A source repeats lines only while it lives or is adopted. A forgotten source that returns starts where its next record
// starts: no line counts as missing, and a repeated line is collected again.
const mostSources = 2000

/** Follows the sources of a partition through one batch. */
export interface PositionTracker {
  missing: number
  duplicates: number
  /**
   * Takes `count` lines that begin at a position.
   *
   * @returns how many of them, at the beginning, had been collected before
   */
  take(source: string, position: number, count: number): number
  positions(): Positions
}

/** Goes on from where an earlier batch has come to. */
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
      const last = all.slice(-mostSources)
      return { complete: complete && last.length === all.length, last }
    }
  }
}
