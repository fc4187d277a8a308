/** Collects the partitions that the consumer group assigns to this sink: one partition log each. */

import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '#common/logging/logger.ts'
import type { BatchCounts } from './batch.ts'
import type { Committed } from './checkpoint.ts'
import { createDiskState } from './disk-state.ts'
import type { BatchControl, GroupHandler, PartitionBatch } from './group-handler.ts'
import type { Keeper } from './keeper.ts'
import { createLag } from './lag.ts'
import { createNameClock } from './line-file.ts'
import type { SinkMetrics } from './metrics.ts'
import { openPartition, type PartitionLog } from './partition-log.ts'
import { completeFiles, observeNames, recoverPartition } from './partition-recovery.ts'
import { sinkId } from './sink-id.ts'

/** The options of a collector. */
interface CollectorOptions {
  /** The directory of the sink. */
  directory: string
  topic: string
  rotate: { bytes: number; age: number }
  keeper: Keeper
  metrics: SinkMetrics
  log: Logger
  /** Milliseconds since 1970. */
  now?: () => number
}

/** Collecting failed because of the disk. */
export class DiskError extends Error {
  override name = 'DiskError'
}

/** Collects, and reports its state. */
export interface Collector extends GroupHandler {
  /** The reason why the disk fails; undefined while it works. */
  diskFailure(): string | undefined
  /** Whether the brokers have not responded for five seconds. */
  isUnresponsive(): boolean
  lagSeconds(): number
  close(): Promise<void>
}

const stallRetryMs = 1000
// An idle broker responds once a second.
const unresponsiveMs = 5000
const hangingMs = 15_000
const noCommit: Committed = { offset: -1, commitMetadata: undefined }

/** @param stop ends waiting for a disk */
export function createCollector(options: CollectorOptions, stop: AbortSignal): Collector {
  const { directory, topic, rotate, keeper, metrics, log, now = Date.now } = options
  const clock = createNameClock(now)
  const disk = createDiskState(log, metrics)
  const lag = createLag(now)
  const open = new Map<number, PartitionLog>()
  let committed: ReadonlyMap<number, Committed> = new Map()
  let sink = ''
  // Durations need a clock that is never set.
  let lastResponseAt = performance.now()
  let batchStartedAt: number | undefined

  const directoryOf = (partition: number) => join(directory, `partition-${partition}`)
  const msSince = (at: number) => performance.now() - at
  const isUnresponsive = () => batchStartedAt === undefined && msSince(lastResponseAt) > unresponsiveMs

  function onResponse(): void {
    lastResponseAt = performance.now()
  }

  async function closeAll(): Promise<void> {
    const logs = [...open.values()]
    open.clear()
    for (const each of logs) await each.close()
  }

  async function collect(batch: PartitionBatch, control: BatchControl): Promise<void> {
    const { partition, records, next, end, writtenAt } = batch
    batchStartedAt = performance.now()
    try {
      const partitionLog = open.get(partition) ?? (await openAssigned(partition, control))
      countBatch(partition, await partitionLog.collect(records, next, control.commit))
      lag.onBatch(partition, writtenAt, next < end)
      disk.onSuccess()
    } catch (error) {
      // Opening it again removes the lines that were written and not committed.
      await open.get(partition)?.close()
      open.delete(partition)
      throw error
    } finally {
      batchStartedAt = undefined
      onResponse()
    }
  }

  function countBatch(partition: number, { written, missing, duplicates, deadLetters }: BatchCounts): void {
    metrics.written.inc(written)
    metrics.missing.inc(missing)
    metrics.duplicates.inc(duplicates)
    metrics.deadLetters.inc(deadLetters)
    const place = { topic, partition }
    if (missing > 0) log.warn({ event: 'log_lines_missing', ...place, count: missing }, 'gap in log positions')
    if (deadLetters > 0) {
      const fields = { event: 'log_dead_letters', ...place, count: deadLetters }
      log.warn(fields, 'wrote invalid records to the dead-letter file')
    }
  }

  async function openAssigned(partition: number, control: BatchControl): Promise<PartitionLog> {
    async function onDiskError(error: Error): Promise<void> {
      disk.onError(error)
      await sleep(stallRetryMs, undefined, { signal: stop })
      await control.heartbeat()
    }
    const partitionOptions = { sink, topic, partition, directory: directoryOf(partition), rotate, clock }
    const opening = openPartition(
      { ...partitionOptions, onDiskError, onComplete: keeper.take },
      committed.get(partition) ?? noCommit
    )
    const opened = await wrapDiskErrors(opening)
    open.set(partition, opened)
    return opened
  }

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

  async function wrapDiskErrors<T>(work: Promise<T>): Promise<T> {
    return work.catch((error) => {
      disk.onError(error)
      throw new DiskError('the disk fails', { cause: error })
    })
  }

  return {
    async onAssigned(partitions, found) {
      await closeAll()
      committed = found
      lag.reset()
      metrics.partitions.set(partitions.length)
      await wrapDiskErrors(recoverAll())
      disk.onSuccess()
      onResponse()
    },
    collect,
    onResponse,
    onFailure: () => metrics.partitions.set(0),
    diskFailure() {
      const isHanging = batchStartedAt !== undefined && msSince(batchStartedAt) > hangingMs
      return disk.failure() ?? (isHanging ? 'a batch has been in progress for 15 seconds' : undefined)
    },
    isUnresponsive,
    lagSeconds: () => Math.max(lag.ms(), isUnresponsive() ? msSince(lastResponseAt) : 0) / 1000,
    close: closeAll
  }
}
