/** Collects what the group gives to this sink: a partition log for each partition, and what is known about how it goes. */

import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '#common/logging/logger.ts'
import { type Committed, syncDirectory } from './checkpoint.ts'
import type { BatchControl, GroupHandler, PartitionBatch } from './group-handler.ts'
import type { Keeper } from './keeper.ts'
import { createNameClock } from './line-file.ts'
import type { SinkMetrics } from './metrics.ts'
import { completeFiles, observeNames, openPartition, type PartitionLog, settlePartition } from './partition-log.ts'

/** What a collector works with. */
export interface CollectorParts {
  /** The sink's own directory. */
  directory: string
  topic: string
  rotate: { bytes: number; age: number }
  keeper: Keeper
  metrics: SinkMetrics
  log: Logger
  /** In milliseconds; the system's unless given. */
  now?: () => number
}

/** Collecting failed because of the disk. */
export class DiskError extends Error {
  override name = 'DiskError'
}

/** Collects, and knows how it goes. */
export interface Collector extends GroupHandler {
  /** Why the disk does not take lines; nothing while it does. */
  diskTrouble(): string | undefined
  /** Whether the brokers have been silent for longer than they should be. */
  isSilent(): boolean
  /** How long the oldest line that is still to be collected has been with the brokers, as far as that is known. */
  lagSeconds(): number
  close(): Promise<void>
}

const stallRetryMs = 1000
// An idle broker answers once a second.
const silentMs = 5000
const hangingMs = 15_000

/** @param stop ends waiting for a disk */
export function createCollector(parts: CollectorParts, stop: AbortSignal): Collector {
  const { directory, topic, rotate, keeper, metrics, log, now = Date.now } = parts
  const clock = createNameClock(now)
  const open = new Map<number, PartitionLog>()
  /** Since when the lines of a partition have been waiting; 0: none are. */
  const behindSince = new Map<number, number>()
  let committed: ReadonlyMap<number, Committed> = new Map()
  let sink = ''
  let trouble: string | undefined
  // Durations are measured by a clock that is never set.
  let aliveAt = performance.now()
  /** Since when a batch has been under way. */
  let workingSince: number | undefined

  async function closeAll(): Promise<void> {
    const logs = [...open.values()]
    open.clear()
    for (const each of logs) await each.close()
  }

  async function collect(batch: PartitionBatch, control: BatchControl): Promise<void> {
    const { partition, records, next, end, writtenAt } = batch
    workingSince = performance.now()
    try {
      const partitionLog = open.get(partition) ?? (await openOne(partition, control))
      const collected = await partitionLog.collect(records, next, control.commit)
      metrics.written.inc(collected.written)
      metrics.missing.inc(collected.missing)
      metrics.duplicates.inc(collected.duplicates)
      metrics.deadLetters.inc(collected.deadLetters)
      if (collected.missing > 0) {
        const fields = { event: 'log_lines_missing', topic, partition, count: collected.missing }
        log.warn(fields, 'log lines never came: their positions were skipped')
      }
      if (collected.deadLetters > 0) {
        const fields = { event: 'log_dead_letters', topic, partition, count: collected.deadLetters }
        log.warn(fields, 'set aside what is no log line')
      }
      // Without a time from the brokers a partition lags from the first batch on that leaves records behind.
      const since = writtenAt > 0 ? writtenAt : behindSince.get(partition) || now()
      behindSince.set(partition, next < end ? since : 0)
      works()
    } catch (error) {
      // What was written and not committed is taken back when the partition is opened again.
      await open.get(partition)?.close()
      open.delete(partition)
      throw error
    } finally {
      workingSince = undefined
      aliveAt = performance.now()
    }
  }

  async function openOne(partition: number, control: BatchControl): Promise<PartitionLog> {
    const options = {
      sink,
      topic,
      partition,
      directory: partitionDirectory(partition),
      rotate,
      clock,
      closed: keeper.take,
      async stalled(error: Error) {
        stall(error)
        await sleep(stallRetryMs, undefined, { signal: stop })
        await control.heartbeat()
      }
    }
    const opened = await ofDisk(openPartition(options, committed.get(partition) ?? { offset: -1, said: undefined }))
    open.set(partition, opened)
    return opened
  }

  /** Cuts back what does not count, in the folders of all partitions: those of this sink, and those that others have now. */
  async function settle(): Promise<void> {
    sink ||= await sinkId(directory)
    for (const name of await readdir(directory)) {
      const match = /^partition-(\d+)$/.exec(name)
      if (!match) continue
      await observeNames(join(directory, name), clock)
      const found = committed.get(Number(match[1]))
      if (!found) continue
      await settlePartition(sink, join(directory, name), found)
      keeper.take(await completeFiles(join(directory, name)))
    }
  }

  async function ofDisk<T>(work: Promise<T>): Promise<T> {
    return work.catch((error) => {
      stall(error)
      throw new DiskError('the disk does not work', { cause: error })
    })
  }

  function partitionDirectory(partition: number): string {
    return join(directory, `partition-${partition}`)
  }

  function stall(error: Error): void {
    const { code } = error as NodeJS.ErrnoException
    const reason = code === 'ENOSPC' ? 'the disk is full' : `the disk does not work (${code ?? error.name})`
    if (trouble === undefined) {
      log.error({ event: 'log_sink_stalled', reason, err: error }, 'collecting waits until the disk takes lines again')
    }
    trouble = reason
    metrics.stalled.set(1)
  }

  function works(): void {
    if (trouble !== undefined) log.warn({ event: 'log_sink_resumed' }, 'the disk takes lines again, collecting goes on')
    trouble = undefined
    metrics.stalled.set(0)
  }

  function isSilent(): boolean {
    return workingSince === undefined && performance.now() - aliveAt > silentMs
  }

  return {
    async assigned(partitions, found) {
      await closeAll()
      committed = found
      behindSince.clear()
      metrics.partitions.set(partitions.length)
      await ofDisk(settle())
      works()
      aliveAt = performance.now()
    },
    collect,
    alive() {
      aliveAt = performance.now()
    },
    failed() {
      metrics.partitions.set(0)
    },
    diskTrouble() {
      const hangs = workingSince !== undefined && performance.now() - workingSince > hangingMs
      return trouble ?? (hangs ? 'a batch has been under way for very long' : undefined)
    },
    isSilent,
    lagSeconds() {
      const oldest = Math.min(...[...behindSince.values()].filter((since) => since > 0))
      const behindMs = Number.isFinite(oldest) ? now() - oldest : 0
      // The clock of the brokers may be ahead of this one.
      return Math.max(behindMs, isSilent() ? performance.now() - aliveAt : 0, 0) / 1000
    },
    close: closeAll
  }
}

/** The name that tells the sink from all others, those with the same name on other machines too; made once. */
async function sinkId(directory: string): Promise<string> {
  const path = join(directory, 'sink-id')
  await mkdir(directory, { recursive: true, mode: 0o700 })
  const known = existsSync(path) ? (await readFile(path, 'utf8')).trim() : ''
  if (known !== '') return known
  const id = randomUUID().slice(0, 13)
  // Under its name there is only ever a whole one.
  await writeFile(`${path}.tmp`, `${id}\n`, { mode: 0o600, flush: true })
  await rename(`${path}.tmp`, path)
  await syncDirectory(directory)
  return id
}
