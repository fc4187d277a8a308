/** The interface of the shipper: its options, events and signals. */

import type { Clock } from '#common/time/clock.ts'
import type { Batch } from './batch.ts'
import type { DropReason } from './spool.ts'

/** Sends lines to a partition (-1: the brokers' client chooses one). @returns the partition */
export type Send = (source: string, batch: Batch, partition: number) => Promise<number>

/** The options of a shipper. */
export interface ShipperOptions {
  service: string
  /** The instance of this process; its directory is `<directory>/<instance>`. */
  instance: string
  /** The spool of the service, with a directory for each source. */
  directory: string
  /** The limit of all sources together. */
  maxBytes: number
  /**
   * Resolves to the partition once all replicas have the lines; rejects with a RecordTooLargeError if the brokers do not
   * take them at once. Without `send` nothing is shipped, and the buffer is only kept within its limit.
   */
  send: Send | undefined
  /** Without Kafka the buffer is the place of the log: lines that are removed at the limit do not count as dropped. */
  retains?: boolean
  clock?: Clock
}

/** The events of a shipper. */
export interface ShipperEvents {
  shipped(count: number): void
  dropped(count: number, reason: DropReason): void
  /** The size of the buffer. */
  bytes(bytes: number): void
  /** The error of the brokers, undefined after a success. */
  brokers(error: unknown): void
  /** The error of writing the shipping position, undefined after a success. */
  disk(error: unknown): void
}

/** How a shipper is ended. */
export interface ShipperSignals {
  /** The remaining lines are shipped, until the brokers fail. */
  stop: AbortSignal
  /** No further line is shipped; the batch in flight counts as not shipped. */
  cutOff: AbortSignal
}
