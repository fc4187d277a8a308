/** Reads the records of one decompressed batch (Kafka's record format v2); each length is checked before it is used. */

/** The content of a record, as kafkajs passes it to consumers. */
export interface RecordContent {
  attributes: number
  key: Buffer | null
  value: Buffer | null
  headers: Record<string, Buffer | null | (Buffer | null)[]>
}

const maxVarintBits = 63n

export class RecordReader {
  private offset = 0
  private readonly content: Buffer

  constructor(content: Buffer) {
    this.content = content
  }

  /** @throws {Error} if the content is malformed, or has more headers */
  record(maxHeaders: number): RecordContent & { offsetDelta: bigint; timestampDelta: bigint } {
    const record = new RecordReader(this.bytes() ?? fail('a record has no content'))
    const attributes = record.take(1).readInt8()
    const timestampDelta = record.varint()
    const offsetDelta = record.varint()
    const key = record.bytes()
    const value = record.bytes()
    return { attributes, timestampDelta, offsetDelta, key, value, headers: record.headers(maxHeaders) }
  }

  private headers(max: number): RecordContent['headers'] {
    const count = Number(this.varint())
    if (count < 0 || count > max) fail(`a record has more than ${max} headers`)
    const headers = new Map<string, RecordContent['headers'][string]>()
    for (let index = 0; index < count; index += 1) {
      const name = (this.bytes() ?? fail('a header has no name')).toString('utf8')
      const value = this.bytes()
      const earlier = headers.get(name)
      headers.set(name, earlier === undefined ? value : [earlier, value].flat())
    }
    return Object.fromEntries(headers)
  }

  /** Bytes with their length before them; null for the length -1. */
  private bytes(): Buffer | null {
    const length = Number(this.varint())
    return length === -1 ? null : this.take(length)
  }

  private take(length: number): Buffer {
    const end = this.offset + length
    if (length < 0 || end > this.content.length) fail('a length exceeds the batch')
    const taken = this.content.subarray(this.offset, end)
    this.offset = end
    return taken
  }

  private varint(): bigint {
    let value = 0n
    for (let shift = 0n; shift <= maxVarintBits; shift += 7n) {
      const byte = this.content[this.offset++] ?? fail('a length exceeds the batch')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return (value >> 1n) ^ -(value & 1n)
    }
    return fail('a number has more than 64 bits')
  }
}

function fail(reason: string): never {
  throw new Error(reason)
}
