/** Encodes record batches as kafkajs does, and such as no client would. */

import { createRequire } from 'node:module'

interface Encoder {
  buffer: Buffer
}

const require = createRequire(import.meta.url)
const KafkaEncoder = require('kafkajs/src/protocol/encoder.js')
const encodeRecord = require('kafkajs/src/protocol/recordBatch/record/v0/index.js')
const types = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 } as const

/** A record before it is encoded. */
export interface EncodedRecord {
  key?: Buffer | string | null
  value?: Buffer | string | null
  headers?: { [name: string]: string | string[] | Buffer | Buffer[] }
}

/** The records of a batch, encoded by kafkajs. */
export function encodeRecords(records: EncodedRecord[]): Buffer {
  return Buffer.concat(
    records.map((record, offsetDelta) => {
      const { buffer }: Encoder = encodeRecord({ offsetDelta, timestampDelta: 1, key: null, value: null, ...record })
      return buffer
    })
  )
}

export interface BatchOptions {
  offset?: number
  type?: keyof typeof types
  count?: number
  magic?: number
  flags?: number
}

/** A batch with these bytes as its records. */
export function batchOf(content: Buffer, options: BatchOptions = {}): Buffer {
  const { offset = 100, type = 'none', count = 1, magic = 2, flags = 0 } = options
  const body: Encoder = new KafkaEncoder()
    .writeInt32(0)
    .writeInt8(magic)
    .writeInt32(0)
    .writeInt16(types[type] + flags)
    .writeInt32(count - 1)
    .writeInt64(1000)
    .writeInt64(2000)
    .writeInt64(7)
    .writeInt16(0)
    .writeInt32(0)
    .writeInt32(count)
  const length = body.buffer.length + content.length
  const { buffer }: Encoder = new KafkaEncoder().writeInt64(offset).writeInt32(length)
  return Buffer.concat([buffer, body.buffer, content])
}
