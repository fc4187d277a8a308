/**
 * How far a partition has been collected, and by whom.
 *
 * What decides is the offset that the consumer group has committed. The coordinator accepts a commit from every member
 * of the present generation; it does not check which member owns the partition. That a member commits its own
 * partitions only is up to the member: a batch ends before its member joins the next generation (group-membership.ts).
 *
 * A sink therefore writes lines, then a checkpoint that states the length of its files with them, then commits. After a
 * crash, or when another sink had the partition in between, the committed offset decides which of its last two
 * checkpoints stands, and the sink cuts its files back to that one. The commit carries what the next owner has to know,
 * so sinks need no disk in common.
 */

import { open, readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Positions } from './positions.ts'

/** A file and how much of it counts. */
export interface FileMark {
  name: string
  bytes: number
}

/** Who has collected a partition, from which offset on; the last one still does. */
export type Tenures = [sink: string, since: number][]

/** The state of a partition after a batch. */
export interface Checkpoint {
  /** The offset of the first record that is not collected. */
  offset: number
  lines: FileMark | undefined
  deadLetters: FileMark | undefined
  positions: Positions
  tenures: Tenures
}

/** What the consumer group knows of a partition. */
export interface Committed {
  /** -1: nothing. */
  offset: number
  /** What the sink that committed said; nothing if it was set by other means. */
  said: { positions: Positions; tenures: Tenures } | undefined
}

const names = ['checkpoint.json', 'checkpoint.previous.json'] as const

/** The last two checkpoints in a partition's directory, the newer one first. */
export async function readCheckpoints(directory: string): Promise<Checkpoint[]> {
  const found = await Promise.all(
    names.map(async (name) => {
      try {
        return [JSON.parse(await readFile(join(directory, name), 'utf8')) as Checkpoint]
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
        throw error
      }
    })
  )
  return found.flat()
}

/** Makes a checkpoint the newest, durably; the newest so far becomes the previous one. */
export async function writeCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  const { newest, previous } = pathsIn(directory)
  const draft = await writeDraft(directory, checkpoint)
  await rename(newest, previous).catch((error) => {
    if (error.code !== 'ENOENT') throw error
  })
  await rename(draft, newest)
  await syncDirectory(directory)
}

/** Makes a checkpoint the only one, durably. After a crash at any time it is at least one of two. */
export async function keepCheckpoint(directory: string, checkpoint: Checkpoint): Promise<void> {
  const { newest, previous } = pathsIn(directory)
  await rename(await writeDraft(directory, checkpoint), newest)
  await syncDirectory(directory)
  await rm(previous, { force: true })
}

function pathsIn(directory: string): { newest: string; previous: string } {
  const [newest, previous] = names
  return { newest: join(directory, newest), previous: join(directory, previous) }
}

/** Writes a checkpoint under a name that no start reads. */
async function writeDraft(directory: string, checkpoint: Checkpoint): Promise<string> {
  const draft = join(directory, 'checkpoint.tmp')
  const file = await open(draft, 'w', 0o600)
  try {
    await file.writeFile(JSON.stringify(checkpoint))
    await file.datasync()
  } finally {
    await file.close()
  }
  return draft
}

/** Makes the names in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const file = await open(directory, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Which of a sink's own checkpoints stands, given what the group has committed.
 *
 * @param own the newer one first
 */
export function standing(sink: string, own: Checkpoint[], { offset, said }: Committed): Checkpoint | undefined {
  const [newest] = own
  const since = newest?.tenures.at(-1)?.[1]
  const until = said && since !== undefined ? endOfTenure([sink, since], said.tenures, offset) : undefined
  // Set back by hand, or so long ago that nobody knows: better twice than not at all.
  if (until === undefined) return newest
  return own.find((checkpoint) => checkpoint.offset === until) ?? own.find((checkpoint) => checkpoint.offset < until)
}

/**
 * The offset to which a sink's collecting counts: what is committed if it still has the partition, else where another
 * took over. A tenure that the group has never heard of ended where it began, its first commit was not taken.
 */
function endOfTenure([sink, since]: Tenures[number], tenures: Tenures, committed: number): number | undefined {
  const index = tenures.findLastIndex(([name, from]) => name === sink && from >= since)
  if (index >= 0) return index === tenures.length - 1 ? committed : tenures[index + 1]?.[1]
  const [oldest] = tenures
  return oldest !== undefined && since >= oldest[1] ? since : undefined
}

// Brokers take 4096 bytes (offset.metadata.max.bytes).
const mostMetadata = 3900
const mostTenures = 8

/** What a commit carries: as much of the positions as there is room for, the most recent ones. */
export function encodeCommit({ positions, tenures }: Checkpoint): string {
  const kept = tenures.slice(-mostTenures)
  const recent = positions.last.toReversed()
  for (let count = recent.length; ; count = Math.floor(count * 0.8)) {
    const complete = positions.complete && count === recent.length
    const last = Object.fromEntries(recent.slice(0, count).toReversed())
    const text = JSON.stringify({ v: 1, tenures: kept, complete, last })
    if (text.length <= mostMetadata || count === 0) return text
  }
}

/** Reads what a commit carried; nothing if it was not one of a sink's. */
export function decodeCommit(metadata: string | null): Committed['said'] {
  try {
    const { v, tenures, complete, last } = JSON.parse(metadata ?? '')
    return v === 1 ? { tenures, positions: { complete, last: Object.entries(last) } } : undefined
  } catch {
    return undefined
  }
}
