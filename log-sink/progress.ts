/** The progress of a sink: its lag, whether the brokers respond, and whether the batch in progress hangs. */

import type { Clock } from '#common/time/clock.ts'
import type { PartitionBatch } from './group-handler.ts'

// An idle broker responds once a second.
const unresponsiveAfterMs = 5000
const hangingAfterMs = 15_000

/** @param wallNow milliseconds since 1970, to compare with the times of the brokers; `clock` measures durations */
export function createProgress(wallNow: () => number, clock: Clock) {
  /** Since when each partition that is behind has been behind. */
  const behindSince = new Map<number, number>()
  let lastResponseAt = clock.now()
  let batchStartedAt: number | undefined

  function unresponsiveMs(): number {
    const ms = clock.now() - lastResponseAt
    return batchStartedAt === undefined && ms > unresponsiveAfterMs ? ms : 0
  }

  return {
    onAssigned: () => behindSince.clear(),
    onResponse() {
      lastResponseAt = clock.now()
    },
    onBatchStart() {
      batchStartedAt = clock.now()
    },
    onCollected({ partition, next, end, writtenAt }: PartitionBatch) {
      if (next >= end) behindSince.delete(partition)
      // Without a time of the brokers, a partition is behind from the first batch that leaves records.
      else if (writtenAt > 0) behindSince.set(partition, writtenAt)
      else if (!behindSince.has(partition)) behindSince.set(partition, wallNow())
    },
    onBatchEnd() {
      batchStartedAt = undefined
      lastResponseAt = clock.now()
    },
    isUnresponsive: () => unresponsiveMs() > 0,
    isHanging: () => batchStartedAt !== undefined && clock.now() - batchStartedAt > hangingAfterMs,
    /** The time for which the oldest uncollected line has been in the topic; 0 if the clock of the brokers is ahead. */
    lagSeconds: () => Math.max(unresponsiveMs(), wallNow() - Math.min(...behindSince.values())) / 1000
  }
}
