/** Collects the batches of the consumer group, counts their lines, and reports the state of the sink. */

import type { Logger } from '#common/logging/logger.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'
import { createPartitions, type PartitionsOptions } from './assigned-partitions.ts'
import { createDiskState } from './disk-state.ts'
import type { GroupHandler } from './group-handler.ts'
import { createNameClock } from './line-file.ts'
import type { SinkMetrics } from './metrics.ts'
import { createProgress } from './progress.ts'
import { type BatchCounts, refusals, serviceNames } from './record-batch.ts'

interface CollectorOptions extends PartitionsOptions {
  metrics: SinkMetrics
  log: Logger
  /** Milliseconds since 1970. */
  now?: () => number
  clock?: Clock
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

/** @param stop ends waiting for a disk */
export function createCollector(options: CollectorOptions, stop: AbortSignal): Collector {
  const { topic, metrics, log, now = Date.now, clock = systemClock } = options
  const disk = createDiskState(log, metrics, clock, stop)
  const partitions = createPartitions(options, createNameClock(now), disk)
  const progress = createProgress(now, clock)

  function onCollected(partition: number, counts: BatchCounts): void {
    const { services, missing, deadLetters, refused } = counts
    for (const service of serviceNames) {
      metrics.written.inc({ service }, services[service].written)
      metrics.duplicates.inc({ service }, services[service].duplicates)
    }
    metrics.missing.inc(missing)
    metrics.deadLetters.inc(deadLetters)
    for (const reason of refusals) metrics.refused.inc({ reason }, refused[reason])
    const place = { topic, partition }
    if (missing > 0) log.warn({ event: 'log_lines_missing', ...place, count: missing }, 'gap in log positions')
    if (deadLetters > 0) log.warn({ event: 'log_dead_letters', ...place, count: deadLetters }, 'wrote dead letters')
    const count = refusals.reduce((sum, reason) => sum + refused[reason], 0)
    if (count > 0) log.error({ event: 'log_records_refused', ...place, count }, 'refused log records')
  }

  return {
    async onAssigned(assigned, committed) {
      progress.onAssigned()
      metrics.partitions.set(assigned.length)
      metrics.topicPartitions.set(committed.size)
      await partitions.recover(committed)
      disk.onSuccess()
      progress.onResponse()
    },
    async collect(batch, control) {
      const { partition, records, next } = batch
      progress.onBatchStart()
      try {
        const partitionLog = await partitions.opened(partition, control)
        onCollected(partition, await partitionLog.collect(records, next, control.commit))
        progress.onCollected(batch)
        disk.onSuccess()
      } finally {
        progress.onBatchEnd()
      }
    },
    onResponse: progress.onResponse,
    onFailure: () => metrics.partitions.set(0),
    onForeignMembers(count) {
      metrics.refused.inc({ reason: 'member' }, count)
      log.error({ event: 'log_members_refused', topic, count }, 'refused members of the consumer group')
    },
    diskFailure: () =>
      disk.failure() ?? (progress.isHanging() ? 'a batch has been in progress for 15 seconds' : undefined),
    isUnresponsive: progress.isUnresponsive,
    lagSeconds: progress.lagSeconds,
    close: partitions.close
  }
}
