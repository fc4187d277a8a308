/** The partitions that the consumer group assigns to this sink: recovered together, each opened at its first batch. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Committed } from './checkpoint.ts'
import type { DiskState } from './disk-state.ts'
import type { BatchControl } from './group-handler.ts'
import type { Keeper } from './keeper.ts'
import type { NameClock } from './line-file.ts'
import { openPartition, type PartitionLog, type PartitionOptions } from './partition-log.ts'
import { completeFiles, observeNames, recoverPartition } from './partition-recovery.ts'
import { sinkId } from './sink-id.ts'

/** The options of the partitions of a sink. */
export interface PartitionsOptions {
  /** The directory of the sink. */
  directory: string
  topic: string
  rotate: { bytes: number; age: number }
  keeper: Keeper
}

export function createPartitions(options: PartitionsOptions, clock: NameClock, disk: DiskState) {
  const { directory, topic, rotate, keeper } = options
  const openLogs = new Map<number, PartitionLog>()
  let committed: ReadonlyMap<number, Committed> = new Map()
  let sink = ''

  /** Recovers all partitions on this disk, including partitions that other sinks own now. */
  async function recoverAll(): Promise<void> {
    sink ||= await sinkId(directory)
    for (const name of await readdir(directory)) {
      const [, partition] = /^partition-(\d+)$/.exec(name) ?? []
      if (partition === undefined) continue
      const path = join(directory, name)
      await observeNames(path, clock)
      const found = committed.get(Number(partition))
      if (!found) continue
      await recoverPartition(sink, path, found)
      keeper.take(await completeFiles(path))
    }
  }

  async function close(): Promise<void> {
    const logs = [...openLogs.values()]
    openLogs.clear()
    for (const each of logs) await each.close()
  }

  async function open(partition: number, { heartbeat }: BatchControl): Promise<PartitionLog> {
    const partitionOptions: PartitionOptions = {
      ...{ sink, topic, partition, directory: join(directory, `partition-${partition}`), rotate, clock },
      untilDone: (operation) => disk.untilDone(operation, heartbeat),
      onComplete: keeper.take
    }
    const opened = await openPartition(
      partitionOptions,
      committed.get(partition) ?? { offset: -1, commitMetadata: undefined }
    )
    openLogs.set(partition, opened)
    return opened
  }

  return {
    /** Closes all partitions and recovers them, which removes the lines that were written and not committed. */
    async recover(found: ReadonlyMap<number, Committed>): Promise<void> {
      await close()
      committed = found
      await disk.guard(recoverAll())
    },
    /** @param control used until the partition is closed */
    opened: async (partition: number, control: BatchControl) =>
      openLogs.get(partition) ?? (await disk.guard(open(partition, control))),
    close
  }
}
