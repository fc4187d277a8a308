/**
 * The collected positions of one source.
 *
 * A forged record can have any position. Therefore a position is a duplicate only if a line with it has been collected, or
 * if as many lines have been collected behind its gap as the gap is wide. A forged line hides at most two lines of the
 * real source, and no sequence of records hides a source permanently.
 */

/** Consecutive positions, both ends included. */
export type Range = [from: number, to: number]

/** The collected positions of a source. */
export interface CollectedPositions {
  /** All positions up to this one are duplicates. */
  upTo: number
  /** Collected positions behind a gap; the least recent range first. Two ranges neither overlap nor touch. */
  ranges: Range[]
  /** Whether ranges may be missing: the source can then continue at any position of a gap. */
  isPartial: boolean
}

// Forged records cause more. A range is forgotten, because to close a gap could hide the source: its lines would be
// collected again if the source repeated them.
const maxRanges = 8

/** The part of a range that has not been collected. */
export function uncollected({ upTo, ranges }: CollectedPositions, [from, to]: Range): Range[] {
  let left = nonEmpty([Math.max(from, upTo + 1), to])
  for (const [start, end] of ranges) {
    left = left.flatMap(([first, last]) =>
      end < first || start > last ? [[first, last] as Range] : nonEmpty([first, start - 1], [end + 1, last])
    )
  }
  return left
}

const nonEmpty = (...ranges: Range[]) => ranges.filter(([from, to]) => from <= to)

/** The number of uncollected positions directly before a position, and the first range behind it. */
export function gapBefore({ upTo, ranges }: CollectedPositions, position: number): { skipped: number; width: number } {
  let before = upTo
  let behind = Number.POSITIVE_INFINITY
  for (const [from, to] of ranges) {
    if (from <= position) before = Math.max(before, to)
    else behind = Math.min(behind, from)
  }
  return { skipped: Math.max(position - before - 1, 0), width: behind - before - 1 }
}

/** Adds collected positions. */
export function addRange({ upTo, ranges, isPartial }: CollectedPositions, added: Range): CollectedPositions {
  let [from, to] = added
  const others: Range[] = []
  for (const range of ranges) {
    if (range[0] > to + 1 || range[1] < from - 1) others.push(range)
    else [from, to] = [Math.min(from, range[0]), Math.max(to, range[1])]
  }
  const isBehindGap = from > upTo + 1
  const next = isBehindGap
    ? { upTo, ranges: [...others, [from, to] as Range], isPartial }
    : { upTo: Math.max(upTo, to), ranges: others, isPartial }
  return next.ranges.length === 0 ? { ...next, isPartial: false } : forgetRange(closeGaps(next))
}

/**
 * Closes the lowest gaps behind which as many lines have been collected as the gaps are wide: a real source has then lost
 * these lines. Lines that close a gap do not count for the gaps above them.
 */
function closeGaps({ upTo, ranges, isPartial }: CollectedPositions): CollectedPositions {
  let closed = upTo
  let end = upTo
  let balance = 0
  for (const [from, to] of ranges.toSorted(([a], [b]) => a - b)) {
    balance += to - from + 1 - (from - end - 1)
    end = to
    if (balance < 0) continue
    closed = to
    balance = 0
  }
  const left = ranges.filter(([from]) => from > closed)
  return { upTo: closed, ranges: left, isPartial: isPartial && left.length > 0 }
}

/** Forgets the least recent range if there are too many. The highest one stays, so that no jump seems wider than it is. */
function forgetRange(state: CollectedPositions): CollectedPositions {
  const { upTo, ranges } = state
  if (ranges.length <= maxRanges) return state
  const highest = Math.max(...ranges.map(([from]) => from))
  const forgotten = ranges.findIndex(([from]) => from !== highest)
  return { upTo, ranges: ranges.toSpliced(forgotten, 1), isPartial: true }
}
