/**
 * How far a partition has been collected, and by which sinks.
 *
 * The offset that the consumer group has committed is authoritative. The coordinator accepts a commit from every member
 * of the current generation and does not check which member owns the partition. Each member therefore commits only its
 * own partitions: a batch ends before its member joins the next generation (group-membership.ts).
 *
 * A sink writes lines, then a checkpoint with the length of its files, then commits. After a crash, or after another sink
 * owned the partition in between, the committed offset selects one of the sink's last two checkpoints, and the sink cuts
 * its files back to it. The metadata of the commit carries the state that the next owner needs, so sinks share no disk.
 */

import type { Positions, SourcePositions } from './positions.ts'

/** A file and the length of its collected content. */
export interface FileMark {
  name: string
  bytes: number
}

/** The sinks that have owned a partition, each with its first offset; the last one is the present owner. */
export type OwnershipHistory = [sink: string, since: number][]

/** The state of a partition after a batch. */
export interface Checkpoint {
  /** The offset of the first record that is not collected. */
  offset: number
  lines: FileMark | undefined
  deadLetters: FileMark | undefined
  positions: Positions
  ownershipHistory: OwnershipHistory
}

/** The state that a commit carries to the next owner. */
type CommitMetadata = Pick<Checkpoint, 'positions' | 'ownershipHistory'>

/** The committed state of a partition. */
export interface Committed {
  /** -1: no offset is committed. */
  offset: number
  /** Undefined if another program has set the offset. */
  commitMetadata: CommitMetadata | undefined
}

/**
 * Selects the checkpoint up to which the files of a sink count.
 *
 * @param own the checkpoints of the sink, the newer one first
 */
export function selectCheckpoint(
  sink: string,
  own: Checkpoint[],
  { offset, commitMetadata }: Committed
): Checkpoint | undefined {
  const [newest] = own
  const since = newest?.ownershipHistory.at(-1)?.[1]
  if (commitMetadata === undefined || since === undefined) return newest
  const end = endOfOwnership([sink, since], commitMetadata.ownershipHistory, offset)
  // The offset was reset, or the history is too short: collecting lines twice is better than losing them.
  if (end === undefined) return newest
  return own.find((checkpoint) => checkpoint.offset === end) ?? own.find((checkpoint) => checkpoint.offset < end)
}

/**
 * The offset at which an ownership ended: the committed offset if it has not ended, otherwise the first offset of the
 * next owner. An ownership that is missing in the history ended where it began, because its first commit was rejected.
 */
function endOfOwnership(
  [sink, since]: OwnershipHistory[number],
  history: OwnershipHistory,
  committed: number
): number | undefined {
  const index = history.findLastIndex(([name, from]) => name === sink && from >= since)
  if (index >= 0) return index === history.length - 1 ? committed : history[index + 1]?.[1]
  const [oldest] = history
  return oldest !== undefined && since >= oldest[1] ? since : undefined
}

// Brokers accept 4096 bytes (offset.metadata.max.bytes).
const maxMetadataBytes = 3900
const maxOwners = 8

/** Encodes the metadata of a commit, with the most recent positions that fit into it. */
export function encodeCommit({ positions, ownershipHistory }: CommitMetadata): string {
  const tenures = ownershipHistory.slice(-maxOwners)
  const recent = positions.last.toReversed()
  for (let count = recent.length; ; count = Math.floor(count * 0.8)) {
    const complete = positions.complete && count === recent.length
    const kept = recent.slice(0, count).toReversed()
    const last = Object.fromEntries(kept)
    const gaps = Object.fromEntries(kept.flatMap(([source, , gap]) => (gap ? [[source, gap]] : [])))
    const behindGaps = Object.fromEntries(kept.flatMap(([source, , , behind]) => (behind ? [[source, behind]] : [])))
    const text = JSON.stringify({ v: 1, tenures, complete, last, gaps, behindGaps })
    if (text.length <= maxMetadataBytes || count === 0) return text
  }
}

/** Decodes the metadata of a commit; undefined if no sink has written it. */
export function decodeCommit(metadata: string | null): CommitMetadata | undefined {
  try {
    // Commits of earlier versions have neither gaps nor the ranges behind them.
    const { v, tenures, complete, last, gaps = {}, behindGaps = {} } = JSON.parse(metadata ?? '')
    if (v !== 1) return undefined
    const positions = Object.entries<number>(last).map(([source, position]): SourcePositions => {
      const [gap, behind] = [gaps[source], behindGaps[source]]
      if (gap === undefined) return [source, position]
      return behind === undefined ? [source, position, gap] : [source, position, gap, behind]
    })
    return { ownershipHistory: tenures, positions: { complete, last: positions } }
  } catch {
    return undefined
  }
}
