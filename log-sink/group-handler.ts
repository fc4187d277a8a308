/** The interface between the consumer group and the collector. */

import type { Committed } from './checkpoint.ts'
import type { LogRecord } from './records.ts'

/** Consecutive records of a partition. */
export interface PartitionBatch {
  partition: number
  records: LogRecord[]
  /** The offset behind the records. */
  next: number
  /** The offset behind the last record of the partition. */
  end: number
  /** When the last of the records was written to the topic, in milliseconds since 1970. */
  writtenAt: number
}

/** The operations of the group during a batch. */
export interface BatchControl {
  /** Keeps the membership alive during a long operation. Rejects if the group has started another generation. */
  heartbeat(): Promise<void>
  /** Resolves when the group has accepted the commit, rejects if it has not or if the outcome is unknown. */
  commit(offset: number, metadata: string): Promise<void>
}

/** Handles the events of a membership. */
export interface GroupHandler {
  /** Called before the first batch of each generation, with the committed offsets of all partitions of the topic. */
  onAssigned(partitions: number[], committed: ReadonlyMap<number, Committed>): Promise<void>
  /** Rejects to get the same batch again, in a new generation. */
  collect(batch: PartitionBatch, control: BatchControl): Promise<void>
  /** Called after each response of a broker. */
  onResponse(): void
  onFailure(error: unknown): void
  /** Called at the leader of the group: members that are no sinks have joined, and get no partitions. */
  onForeignMembers(count: number): void
}
