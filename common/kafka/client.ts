/** The Kafka client. Only this folder and the consumer of log-sink depend on kafkajs. */

import { zstdCompressSync } from 'node:zlib'
import './kafkajs-decode-patch.ts'
import './kafkajs-idle-patch.ts'
import kafkajs, { type Kafka, type Message, type Producer } from 'kafkajs'
import { RecordTooLargeError } from '#common/logging/spool/piece-size.ts'
import { withinMs } from '#common/time/timeout.ts'
import { type KafkaConnection, saslOptions, tlsOptions } from './connection.ts'
import type { KafkaFailure } from './failure-reason.ts'

const { CompressionCodecs, CompressionTypes } = kafkajs

// Synchronous, so that the thread pool stays free for requests. The shipper compresses in its own thread.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => zstdCompressSync(buffer),
  decompress: () => Promise.reject(new Error('record-batches.ts decompresses'))
})

const compressionTypes = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD
} as const

/** The connection to the brokers, and the compression of records. */
export interface KafkaOptions extends KafkaConnection {
  compression: keyof typeof compressionTypes
  logs: { topic: string }
}

/** A client without retries, because its callers retry without a limit. It logs nothing. */
export function createKafka({ brokers, tls, sasl }: KafkaConnection, clientId: string): Kafka {
  return new kafkajs.Kafka({
    brokers,
    clientId,
    ...tlsOptions(tls),
    ...saslOptions(sasl),
    connectionTimeout: 2000,
    requestTimeout: 10_000,
    retry: { retries: 0 },
    logLevel: kafkajs.logLevel.NOTHING
  })
}

/** Consecutive lines of a source. */
export interface Lines {
  /** The position of the first one in the source. */
  position: number
  bytes: Buffer
}

/** Sends lines to the brokers. */
interface LineSender {
  /**
   * Resolves to the partition once all replicas have the lines. Rejects if the outcome is unknown, and with a
   * RecordTooLargeError if the brokers do not take that many at once.
   *
   * @param partition -1: chosen by the name of the source
   */
  send(source: string, lines: Lines, partition: number): Promise<number>
  close(): Promise<void>
}

export function createLineSender(options: KafkaOptions, clientId: string): LineSender {
  const { topic } = options.logs
  const sender = createSender(options, clientId)
  let consecutiveCloses = 0
  return {
    async send(key, { position, bytes }, partition) {
      const record = {
        key,
        value: bytes,
        headers: { position: String(position) },
        ...(partition >= 0 && { partition })
      }
      try {
        const written = await sender.send(topic, record)
        consecutiveCloses = 0
        return written
      } catch (error) {
        if (isTooLarge(error)) throw new RecordTooLargeError(error)
        // A broker closes the connection after a request above socket.request.max.bytes, and also when it stops.
        consecutiveCloses = hasCause(error, 'KafkaJSConnectionClosedError') ? consecutiveCloses + 1 : 0
        if (consecutiveCloses < 2) throw error
        consecutiveCloses = 0
        throw new RecordTooLargeError(error, false)
      }
    },
    close: sender.close
  }
}

const sizeRejections = ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE']
const rejections = [...sizeRejections, 'INVALID_RECORD', 'INVALID_TIMESTAMP']

/** Whether the brokers have rejected a record for its size: `max.message.bytes` of its topic, or `message.max.bytes`. */
function isTooLarge(error: unknown): boolean {
  return sizeRejections.includes((error as KafkaFailure).type ?? '')
}

/** Whether the brokers have rejected a record, or the size of a batch: they will also reject it the next time. */
export function isRejectedRecord(error: unknown): boolean {
  return rejections.includes((error as KafkaFailure).type ?? '')
}

function hasCause(error: unknown, name: string): boolean {
  const { name: own, cause } = error as KafkaFailure
  return own === name || (cause instanceof Error && hasCause(cause, name))
}

type KeyedRecord = Message & { key: string }

/** Sends records to the brokers. */
export interface Sender {
  /** Resolves to the partition once all replicas have the record. Rejects if the outcome is unknown. */
  send(topic: string, record: KeyedRecord): Promise<number>
  /** Sends records in one request to each broker; those of a key keep their order. Rejects if the outcome of any is unknown. */
  sendAll(topic: string, records: KeyedRecord[]): Promise<void>
  close(): Promise<void>
}

// Above the timeouts of kafkajs 2.2.4, which do not apply in every state of a connection. No upstream issue known. Remove
// when connect() and send() of a producer settle within connectionTimeout and requestTimeout in all states.
const connectMs = 8000
const sendMs = 20_000
// The brokers set the time of a record: they reject a timestamp that is far in the future
// (message.timestamp.after.max.ms). In a topic with CreateTime, retention then starts when the broker wrote the record.
const noTimestamp = '-1'

/** A sender that connects at the first use, and again after each failure. */
export function createSender(options: Omit<KafkaOptions, 'logs'>, clientId: string): Sender {
  const { compression } = options
  const kafka = createKafka(options, clientId)
  let producer: Producer | undefined
  let connecting = Promise.resolve()

  async function connected(): Promise<Producer> {
    if (producer === undefined) {
      producer = kafka.producer({
        allowAutoTopicCreation: false,
        maxInFlightRequests: 1,
        createPartitioner: () => choosePartition
      })
      connecting = withinMs(connectMs, producer.connect())
    }
    const current = producer
    await connecting
    return current
  }

  async function close(): Promise<void> {
    const closing = producer
    producer = undefined
    await withinMs(1000, closing?.disconnect() ?? Promise.resolve()).catch(() => {})
  }

  async function sendRecords(topic: string, records: KeyedRecord[]) {
    try {
      const sending = (await connected()).send({
        topic,
        acks: -1,
        compression: compressionTypes[compression],
        messages: records.map((record) => ({ ...record, timestamp: noTimestamp }))
      })
      return await withinMs(sendMs, sending)
    } catch (error) {
      // A rejected size does not affect the connection.
      if (!isTooLarge(error)) void close()
      throw error
    }
  }

  return {
    async send(topic, record) {
      const [written] = await sendRecords(topic, [record])
      return written?.partition ?? -1
    },
    sendAll: async (topic, records) => void (await sendRecords(topic, records)),
    close
  }
}

interface Choice {
  message: { key?: Buffer | string | null; partition?: number }
  partitionMetadata: unknown[]
}

/** The requested partition if it exists, otherwise one by the hash of the key (FNV-1a). */
function choosePartition({ message: { key, partition }, partitionMetadata: { length } }: Choice): number {
  if (partition !== undefined && partition < length) return partition
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(key ?? '')) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % length
}
