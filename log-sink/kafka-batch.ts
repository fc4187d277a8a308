/** Converts kafkajs messages to records, and recognises the errors of kafkajs. */

import type { Admin, KafkaMessage } from 'kafkajs'
import { type Committed, decodeCommit } from './checkpoint.ts'
import type { LogRecord } from './records.ts'

const pieceBytes = 8 * 2 ** 20

/** Splits messages into pieces of bounded size: a heartbeat can follow each. */
export function splitMessages(messages: KafkaMessage[]): KafkaMessage[][] {
  const pieces: KafkaMessage[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const size = message.value?.length ?? 0
    if (bytes + size > pieceBytes) {
      pieces.push([])
      bytes = 0
    }
    pieces.at(-1)?.push(message)
    bytes += size
  }
  return pieces
}

/** The message of a batch that the client did not decode has a fault. */
export function toRecord(message: KafkaMessage & { fault?: string }): LogRecord {
  const { offset, key, value, headers, fault } = message
  return { offset: Number(offset), key, value, headers, ...(fault !== undefined && { fault }) }
}

/** The committed offsets of all partitions of a topic, with their metadata. */
export async function committedOffsets(admin: Admin, topic: string, groupId: string): Promise<Map<number, Committed>> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return new Map(
    found?.partitions.map(({ partition, offset, metadata }) => [
      partition,
      { offset: Number(offset), commitMetadata: decodeCommit(metadata) }
    ])
  )
}

/** Whether the coordinator has rejected a commit. After other errors the outcome is unknown. */
export function isRejected(error: unknown): boolean {
  const { name, retriable } = error as { name?: string; retriable?: boolean }
  return name === 'KafkaJSProtocolError' && retriable === false
}
