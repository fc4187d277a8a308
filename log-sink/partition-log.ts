/** The collected lines of one partition: every batch becomes durable, is committed, and counts from then on, or is taken back. */

import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type Checkpoint,
  type Committed,
  encodeCommit,
  keepCheckpoint,
  readCheckpoints,
  standing,
  writeCheckpoint
} from './checkpoint.ts'
import {
  appendTo,
  beginFile,
  cutBack,
  cutToMark,
  type FileKind,
  isOlder,
  type LineFile,
  lastMark,
  type NameClock,
  plainFiles,
  reopenFile
} from './line-file.ts'
import { type PositionTracker, trackPositions } from './positions.ts'
import { type LogRecord, linesOf, originOf } from './records.ts'

/** What a batch has brought. */
export interface Collected {
  written: number
  missing: number
  duplicates: number
  deadLetters: number
}

/** What surrounds a partition. */
export interface PartitionOptions {
  /** Tells this sink from all others, for good. */
  sink: string
  topic: string
  partition: number
  directory: string
  rotate: { bytes: number; age: number }
  clock: NameClock
  /** Called when the disk does not do what it is asked; resolves when it may be asked again, rejects when it is to be given up. */
  stalled: (error: Error) => Promise<void>
  /** Called with files that are complete and will never be written to again. */
  closed: (paths: string[]) => void
}

/** A partition that this sink collects. */
export interface PartitionLog {
  /**
   * Collects what follows in the partition.
   *
   * @param next the offset behind the records
   * @param commit rejects unless the group has taken the commit; after that the partition has to be opened anew
   */
  collect(
    records: LogRecord[],
    next: number,
    commit: (offset: number, metadata: string) => Promise<void>
  ): Promise<Collected>
  close(): Promise<void>
}

/** Cuts the files of a partition back to what counts; to be done before anyone reads on, also for partitions that others have now. */
export async function settlePartition(
  sink: string,
  directory: string,
  committed: Committed
): Promise<Checkpoint | undefined> {
  const own = await readCheckpoints(directory)
  const stands = standing(sink, own, committed)
  if (stands === undefined) return undefined
  // The decision first: later the group may no longer know enough to repeat it, and every start cuts.
  if (stands !== own[0]) await keepCheckpoint(directory, stands)
  await cutToMark(directory, 'lines', stands.lines)
  await cutToMark(directory, 'dead-letters', stands.deadLetters)
  return stands
}

/** The files of a settled partition that will never be written to again: all but the last of each kind. */
export async function completeFiles(directory: string): Promise<string[]> {
  const kinds: FileKind[] = ['lines', 'dead-letters']
  const names = await Promise.all(kinds.map((kind) => plainFiles(directory, kind)))
  return names.flatMap((each) => each.slice(0, -1).map((name) => join(directory, name)))
}

/** Makes the names of later files sort behind those of a partition, the files that are gone but still marked included. */
export async function observeNames(directory: string, clock: NameClock): Promise<void> {
  for (const name of await readdir(directory)) clock.observe(name)
  for (const { lines, deadLetters } of await readCheckpoints(directory)) {
    clock.observe(lines?.name ?? '')
    clock.observe(deadLetters?.name ?? '')
  }
}

/** Opens a partition that this sink has been given, at what the group has committed. */
export async function openPartition(options: PartitionOptions, committed: Committed): Promise<PartitionLog> {
  const { sink, topic, partition, directory, rotate, clock, stalled, closed } = options
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await observeNames(directory, clock)
  const stands = await settlePartition(sink, directory, committed)
  let state = await beginning(sink, directory, committed, stands)
  const files: Record<FileKind, LineFile | undefined> = { lines: undefined, 'dead-letters': undefined }
  const replaced: string[] = []
  let isKnown = committed.said !== undefined
  if (stands !== undefined && state === stands) {
    if (stands.lines) files.lines = await reopenFile(directory, stands.lines)
    if (stands.deadLetters) files['dead-letters'] = await reopenFile(directory, stands.deadLetters)
  } else {
    await untilDone(() => writeCheckpoint(directory, state))
  }

  async function collect(
    records: LogRecord[],
    next: number,
    commit: (offset: number, metadata: string) => Promise<void>
  ): Promise<Collected> {
    const [first] = records
    if (!isKnown && first) {
      // Without a commit of the partition, no sink could decide later which lines of the first batch count.
      await commit(first.offset, encodeCommit(state))
      isKnown = true
    }
    const batch = readBatch(records)
    await append('lines', batch.lines)
    await append('dead-letters', batch.deadLetters)
    const checkpoint: Checkpoint = {
      offset: next,
      lines: markOf('lines') ?? state.lines,
      deadLetters: markOf('dead-letters') ?? state.deadLetters,
      positions: batch.tracker.positions(),
      tenures: state.tenures
    }
    await untilDone(() => writeCheckpoint(directory, checkpoint))
    await commit(next, encodeCommit(checkpoint))
    state = checkpoint
    closed(replaced.splice(0))
    return batch.collected()
  }

  function readBatch(records: LogRecord[]) {
    const tracker = trackPositions(state.positions)
    const lines: Buffer[] = []
    const deadLetters: Buffer[] = []
    let written = 0
    for (const record of records) written += readRecord(record, tracker, lines, deadLetters)
    const collected = (): Collected => {
      const { missing, duplicates } = tracker
      return { written, missing, duplicates, deadLetters: deadLetters.length }
    }
    return { lines, deadLetters, tracker, collected }
  }

  /** @returns how many lines are to be written */
  function readRecord(record: LogRecord, tracker: PositionTracker, lines: Buffer[], deadLetters: Buffer[]): number {
    const { offset, value } = record
    const bury = (reason: string, bytes: Buffer | null, origin = {}) =>
      deadLetters.push(deadLetter({ reason, topic, partition, offset, ...origin }, bytes))
    const origin = originOf(record)
    if (typeof origin === 'string' || value === null) {
      bury(origin as string, value)
      return 0
    }
    const { source, position } = origin
    const content = linesOf(value)
    const known = tracker.take(source, position, content.count)
    if (known === 0 && content.allSound) {
      lines.push(value)
      return content.count
    }
    let written = 0
    for (const [index, { bytes, fault }] of content.lines().entries()) {
      if (index < known) continue
      if (fault === undefined) {
        lines.push(bytes, lineEnd)
        written += 1
      } else bury(fault, bytes, { source, position: position + index })
    }
    return written
  }

  async function append(kind: FileKind, parts: Buffer[]): Promise<void> {
    if (parts.length === 0) return
    await untilDone(async () => {
      const file = await fileFor(kind)
      await appendTo(file, parts).catch(async (error) => {
        await cutBack(file)
        throw error
      })
    })
  }

  /** The file to write to. One that is full or old is left only here, when all that is in it counts. */
  async function fileFor(kind: FileKind): Promise<LineFile> {
    const open = files[kind]
    if (open && open.bytes < rotate.bytes && !isOlder(open, rotate.age, clock)) return open
    const begun = await beginFile(directory, kind, clock)
    files[kind] = begun
    if (open) {
      await open.handle.close()
      replaced.push(open.path)
    }
    return begun
  }

  function markOf(kind: FileKind) {
    const file = files[kind]
    return file && { name: file.name, bytes: file.bytes }
  }

  async function untilDone<T>(work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work()
      } catch (error) {
        await stalled(error as Error)
      }
    }
  }

  return {
    collect,
    async close() {
      for (const file of Object.values(files)) await file?.handle.close()
    }
  }
}

/** Where collecting begins: at the sink's own checkpoint, at what another sink has left, or at nothing. */
async function beginning(
  sink: string,
  directory: string,
  { offset, said }: Committed,
  stands: Checkpoint | undefined
): Promise<Checkpoint> {
  const isOwn = said?.tenures.at(-1)?.[0] === sink
  if (isOwn && stands?.offset === offset) return stands
  const tenures = said?.tenures ?? []
  return {
    // Without a commit everything that is there is read; what has been collected is known by its positions.
    offset: Math.max(offset, 0),
    lines: stands?.lines ?? (await lastMark(directory, 'lines')),
    deadLetters: stands?.deadLetters ?? (await lastMark(directory, 'dead-letters')),
    positions: said?.positions ?? stands?.positions ?? { complete: offset <= 0, last: [] },
    tenures: isOwn ? tenures : [...tenures, [sink, Math.max(offset, 0)]]
  }
}

const lineEnd = Buffer.from('\n')
const mostDeadLetterBytes = 65_536

interface Burial {
  reason: string
  topic: string
  partition: number
  offset: number
}

/** One dead letter: why and where from, and the thing itself, cut if it is very long. */
function deadLetter(burial: Burial, bytes: Buffer | null): Buffer {
  const line = bytes?.subarray(0, mostDeadLetterBytes).toString('utf8') ?? null
  return Buffer.from(`${JSON.stringify({ time: new Date().toISOString(), ...burial, line })}\n`)
}
