/** What a member of the consumer group is given, and what it may do with it. */

import type { Committed } from './checkpoint.ts'
import type { LogRecord } from './records.ts'

/** What came from a partition. */
export interface PartitionBatch {
  partition: number
  records: LogRecord[]
  /** The offset behind the records. */
  next: number
  /** The offset that the next record to be written to the partition gets. */
  end: number
  /** When the last of the records came to the brokers, in milliseconds. */
  writtenAt: number
}

/** What a handler may do while it has a batch. */
export interface BatchControl {
  /** Says that this member lives, and rejects when the group has moved on; for whoever takes long. */
  heartbeat(): Promise<void>
  /** Resolves when the group has taken the commit, rejects when it did not or when that cannot be known. */
  commit(offset: number, metadata: string): Promise<void>
}

/** Gets what the group gives to this member. */
export interface GroupHandler {
  /** Called before the first batch of each generation, with what is committed of all partitions of the topic. */
  assigned(partitions: number[], committed: ReadonlyMap<number, Committed>): Promise<void>
  /** Rejects to have the same batch again, in a new generation. */
  collect(batch: PartitionBatch, control: BatchControl): Promise<void>
  /** Called after each answer of a broker, and with each failure. */
  alive(): void
  failed(error: unknown): void
}
