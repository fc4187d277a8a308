/** The collected lines of one partition. A batch is made durable, then committed; without a commit, recovery removes it. */

import { mkdir } from 'node:fs/promises'
import { type Checkpoint, type Committed, encodeCommit, type FileMark } from './checkpoint.ts'
import { writeCheckpoint } from './checkpoint-files.ts'
import type { BatchControl } from './group-handler.ts'
import {
  appendTo,
  createFile,
  cutBack,
  type FileKind,
  isOlder,
  type LineFile,
  type NameClock,
  reopenFile
} from './line-file.ts'
import { observeNames, recoverPartition, startingCheckpoint } from './partition-recovery.ts'
import { type BatchCounts, readRecordBatch } from './record-batch.ts'
import type { LogRecord } from './records.ts'

/** The options of a partition log. */
export interface PartitionOptions {
  /** The unique and permanent id of the sink. */
  sink: string
  topic: string
  partition: number
  directory: string
  rotate: { bytes: number; age: number }
  clock: NameClock
  /** Retries an operation while the disk fails; rejects to give up. */
  untilDone: (operation: () => Promise<void>) => Promise<void>
  /** Called with files that are complete. */
  onComplete: (paths: string[]) => void
}

/** A partition that this sink collects. */
export interface PartitionLog {
  /**
   * Collects the next records of the partition.
   *
   * @param next the offset behind the records
   * @param commit rejects unless the group has accepted the commit; after that the partition must be opened again
   */
  collect(records: LogRecord[], next: number, commit: BatchControl['commit']): Promise<BatchCounts>
  close(): Promise<void>
}

/** Opens an assigned partition at its committed offset. */
export async function openPartition(options: PartitionOptions, committed: Committed): Promise<PartitionLog> {
  const { sink, directory, clock, untilDone, onComplete } = options
  await mkdir(directory, { recursive: true, mode: 0o700 })
  await observeNames(directory, clock)
  const own = await recoverPartition(sink, directory, committed)
  let state = await startingCheckpoint(sink, directory, committed, own)
  const appender = createAppender(options)
  if (state === own) await appender.reopen(own)
  else await untilDone(() => writeCheckpoint(directory, state))
  let isCommitted = committed.commitMetadata !== undefined

  return {
    async collect(records, next, commit) {
      const [first] = records
      if (!isCommitted && first) {
        // Without a commit of the partition, recovery could not decide which lines of the first batch count.
        await commit(first.offset, encodeCommit(state))
        isCommitted = true
      }
      const batch = readRecordBatch(records, state.positions, options)
      await appender.append('lines', batch.lines)
      await appender.append('dead-letters', batch.deadLetters)
      const checkpoint: Checkpoint = {
        offset: next,
        lines: appender.markOf('lines') ?? state.lines,
        deadLetters: appender.markOf('dead-letters') ?? state.deadLetters,
        positions: batch.positions,
        ownershipHistory: state.ownershipHistory
      }
      await untilDone(() => writeCheckpoint(directory, checkpoint))
      await commit(next, encodeCommit(checkpoint))
      state = checkpoint
      onComplete(appender.takeComplete())
      return batch.counts
    },
    close: appender.close
  }
}

/** Appends to the newest file of each kind, and rotates it. */
function createAppender({ directory, rotate, clock, untilDone }: PartitionOptions) {
  const files: Record<FileKind, LineFile | undefined> = { lines: undefined, 'dead-letters': undefined }
  const complete: string[] = []

  /** A full or old file is replaced before the next batch: by then all its content is committed. */
  async function currentFile(kind: FileKind): Promise<LineFile> {
    const open = files[kind]
    if (open && open.bytes < rotate.bytes && !isOlder(open, rotate.age, clock)) return open
    const created = await createFile(directory, kind, clock)
    files[kind] = created
    if (open) {
      await open.handle.close()
      complete.push(open.path)
    }
    return created
  }

  async function appendOnce(kind: FileKind, parts: Buffer[]): Promise<void> {
    const file = await currentFile(kind)
    await appendTo(file, parts).catch(async (error) => {
      await cutBack(file)
      throw error
    })
  }

  return {
    async reopen({ lines, deadLetters }: Checkpoint): Promise<void> {
      if (lines) files.lines = await reopenFile(directory, lines)
      if (deadLetters) files['dead-letters'] = await reopenFile(directory, deadLetters)
    },
    async append(kind: FileKind, parts: Buffer[]): Promise<void> {
      if (parts.length > 0) await untilDone(() => appendOnce(kind, parts))
    },
    markOf(kind: FileKind): FileMark | undefined {
      const file = files[kind]
      return file && { name: file.name, bytes: file.bytes }
    },
    takeComplete: () => complete.splice(0),
    async close(): Promise<void> {
      for (const file of Object.values(files)) await file?.handle.close()
    }
  }
}
