/** The Kafka client, behind as little as possible: everything that knows kafkajs by name is here, in kafka-idle.ts and in log-sink's consumer. */

import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import './kafkajs-idle-patch.ts'
import kafkajs, { type Kafka, type Message, type Producer } from 'kafkajs'
import { RecordTooLargeError } from '#common/logging/spool/piece-size.ts'
import { withinMs } from '#common/time/timeout.ts'

const { CompressionCodecs, CompressionTypes } = kafkajs

// On the calling thread: the thread pool is for those who cannot wait.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => zstdCompressSync(buffer),
  decompress: async (buffer: Buffer) => zstdDecompressSync(buffer)
})

const compressionTypes = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  zstd: CompressionTypes.ZSTD
} as const

/** How to reach the brokers, and how lines travel. */
export interface KafkaOptions {
  brokers: string[]
  compression: keyof typeof compressionTypes
  logs: { topic: string }
}

/** A client that tries everything once: whoever uses it has retries of its own, which never end. It logs nothing. */
export function createKafka(brokers: string[], clientId: string): Kafka {
  return new kafkajs.Kafka({
    brokers,
    clientId,
    connectionTimeout: 2000,
    requestTimeout: 10_000,
    retry: { retries: 0 },
    logLevel: kafkajs.logLevel.NOTHING
  })
}

/** Some lines of a source, on their way to a topic. */
export interface Lines {
  /** The position of the first one in the source. */
  position: number
  bytes: Buffer
}

/** Gives lines to the brokers. */
export interface LineSender {
  /**
   * Resolves, once all replicas have the lines, to their partition; rejects if that is not known, and with a
   * RecordTooLargeError if the brokers do not take that many at once.
   *
   * @param partition -1 to have one chosen by the name of the source
   */
  send(source: string, lines: Lines, partition: number): Promise<number>
  close(): Promise<void>
}

export function createLineSender(options: KafkaOptions, clientId: string): LineSender {
  const { topic } = options.logs
  const sender = createSender(options, clientId)
  let closedInRow = 0
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
        closedInRow = 0
        return written
      } catch (error) {
        if (isTooLarge(error)) throw new RecordTooLargeError(error)
        // So a broker answers a request above socket.request.max.bytes, and any request when it stops.
        closedInRow = hasCause(error, 'KafkaJSConnectionClosedError') ? closedInRow + 1 : 0
        if (closedInRow < 2) throw error
        closedInRow = 0
        throw new RecordTooLargeError(error, false)
      }
    },
    close: sender.close
  }
}

/** Whether the brokers have rejected a record for its size: `max.message.bytes` of its topic, or `message.max.bytes`. */
function isTooLarge(error: unknown): boolean {
  return ['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'].includes((error as KafkaFailure).type ?? '')
}

function hasCause(error: unknown, name: string): boolean {
  const { name: own, cause } = error as KafkaFailure
  return own === name || (cause instanceof Error && hasCause(cause, name))
}

/** Gives records to the brokers. */
export interface Sender {
  /** Resolves, once all replicas have the record, to its partition; rejects if that is not known. */
  send(topic: string, record: Message & { key: string }): Promise<number>
  close(): Promise<void>
}

// Beyond the client's own limits, which do not hold in every state of a connection.
const connectMs = 8000
const sendMs = 20_000
// No timestamp: the time of a record is the brokers' to set, which reject one by a clock that differs from theirs by much
// (message.timestamp.after.max.ms). In a topic with CreateTime, retention then counts from when the broker wrote it.
const noTimestamp = '-1'

/** A sender that connects when it is first used, and anew after each failure. */
export function createSender(
  { brokers, compression }: Pick<KafkaOptions, 'brokers' | 'compression'>,
  clientId: string
): Sender {
  const kafka = createKafka(brokers, clientId)
  let producer: Producer | undefined

  async function connected(): Promise<Producer> {
    if (producer !== undefined) return producer
    producer = kafka.producer({
      allowAutoTopicCreation: false,
      maxInFlightRequests: 1,
      createPartitioner: () => choosePartition
    })
    await withinMs(connectMs, producer.connect())
    return producer
  }

  async function close(): Promise<void> {
    const closing = producer
    producer = undefined
    await withinMs(1000, closing?.disconnect() ?? Promise.resolve()).catch(() => {})
  }

  return {
    async send(topic, record) {
      try {
        const sending = (await connected()).send({
          topic,
          acks: -1,
          compression: compressionTypes[compression],
          messages: [{ ...record, timestamp: noTimestamp }]
        })
        const [written] = await withinMs(sendMs, sending)
        return written?.partition ?? -1
      } catch (error) {
        // The connection is as good as before.
        if (!isTooLarge(error)) void close()
        throw error
      }
    },
    close
  }
}

interface Choice {
  message: { key?: Buffer | string | null; partition?: number }
  partitionMetadata: unknown[]
}

/** The partition that is asked for, if there is one of that number; otherwise one by the key. */
function choosePartition({ message: { key, partition }, partitionMetadata: { length } }: Choice): number {
  if (partition !== undefined && partition < length) return partition
  let hash = 0x811c9dc5
  for (const byte of Buffer.from(key ?? '')) hash = Math.imul(hash ^ byte, 0x01000193)
  return (hash >>> 0) % length
}

/** What is wrong with the brokers, in a few words for an operator. */
export function kafkaTrouble(error: unknown, topic: string): string {
  const { type, code, name, cause, message } = error as KafkaFailure
  if (type === 'UNKNOWN_TOPIC_OR_PARTITION') return `there is no topic ${topic}`
  if (cause instanceof Error && (cause as KafkaFailure).name !== name) return kafkaTrouble(cause, topic)
  if (type !== undefined) return `the brokers answer ${type}`
  if (/^connect E|Connection error|Connection timeout|ECONN/.test(message)) return 'no broker can be reached'
  if (/deadline|in time|timed out/i.test(message)) return 'the brokers give no answer in time'
  return `no broker can be used (${code ?? name})`
}

interface KafkaFailure extends Error {
  type?: string
  code?: string | number
}
