/**
 * Decodes Kafka's record batches within bounds of memory and time. A batch outside the bounds, or a malformed one, becomes
 * one record with a fault, so that its consumer can skip it.
 */

import { decompress } from './decompression.ts'
import { type RecordContent, RecordReader } from './record-reader.ts'

/** A record as kafkajs passes it to consumers. */
export interface DecodedRecord extends RecordContent {
  offset: string
  /** Milliseconds since 1970. */
  timestamp: string
  isControlRecord: boolean
  batchContext: BatchContext
  /** The reason why the batch of this offset was not decoded. */
  fault?: string
}

interface BatchContext {
  producerId: string
  inTransaction: boolean
}

/** The bounds of one batch, and of the batches of one response together. */
export const decodingLimits = {
  /** Eight times what the shipper sends at once. */
  batchBytes: 4 * 2 ** 20,
  batchRecords: 16_384,
  recordHeaders: 64,
  responseBytes: 16 * 2 ** 20
}

/** What a response may still decode, in bytes. Without a remainder, one batch of each partition is decoded. */
export interface DecodingBudget {
  left: number
}

// In memory, besides its content.
const recordBytes = 512
// From the first byte to the base timestamp: base offset, length, epoch, magic, checksum, attributes, last offset delta.
const lengthEnd = 12
const headerEnd = 61
const at = {
  magic: 16,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  count: 57
}
const flags = { codec: 0x07, appendTime: 0x08, transaction: 0x10, control: 0x20 }

/** Decodes the batches of a partition. A partial batch at the end, and batches beyond the budget, are left out. */
export function decodeRecordSet(set: Buffer, budget: DecodingBudget): DecodedRecord[] {
  const records: DecodedRecord[] = []
  for (let start = 0; start + lengthEnd <= set.length; ) {
    const end = start + lengthEnd + set.readInt32BE(start + 8)
    if (end > set.length || end <= start + at.magic) break
    if (records.length > 0 && budget.left <= 0) break
    for (const record of decodeBatch(set.subarray(start, end), budget)) records.push(record)
    start = end
  }
  return records
}

function decodeBatch(batch: Buffer, budget: DecodingBudget): DecodedRecord[] {
  try {
    if (batch.readInt8(at.magic) !== 2) throw new Error('the format of the batch is not supported')
    if (batch.length < headerEnd) throw new Error('the batch has no header')
    return decodeRecords(batch, budget)
  } catch (error) {
    budget.left -= decodingLimits.batchBytes
    return [faultyRecord(batch, (error as Error).message)]
  }
}

function decodeRecords(batch: Buffer, budget: DecodingBudget): DecodedRecord[] {
  const count = batch.readInt32BE(at.count)
  const { batchRecords, batchBytes } = decodingLimits
  if (count < 0 || count > batchRecords) throw new Error(`the batch has more than ${batchRecords} records`)
  const attributes = batch.readInt16BE(at.attributes)
  const content = decompress(attributes & flags.codec, batch.subarray(headerEnd), batchBytes)
  budget.left -= content.length + count * recordBytes
  const baseOffset = batch.readBigInt64BE(0)
  const hasAppendTime = (attributes & flags.appendTime) !== 0
  const baseTimestamp = batch.readBigInt64BE(hasAppendTime ? at.maxTimestamp : at.baseTimestamp)
  const isControlRecord = (attributes & flags.control) !== 0
  const batchContext = contextOf(batch)
  const reader = new RecordReader(content)
  return Array.from({ length: count }, () => {
    const { offsetDelta, timestampDelta, ...record } = reader.record(decodingLimits.recordHeaders)
    return {
      ...record,
      offset: String(baseOffset + offsetDelta),
      timestamp: String(hasAppendTime ? baseTimestamp : baseTimestamp + timestampDelta),
      isControlRecord,
      batchContext
    }
  })
}

function contextOf(batch: Buffer): BatchContext {
  return {
    producerId: String(batch.readBigInt64BE(at.producerId)),
    inTransaction: (batch.readInt16BE(at.attributes) & flags.transaction) !== 0
  }
}

/** Takes the place of all records of a batch: a consumer continues behind its offset. */
function faultyRecord(batch: Buffer, fault: string): DecodedRecord {
  const isCurrent = batch.length >= headerEnd && batch.readInt8(at.magic) === 2
  const lastOffsetDelta = isCurrent ? Math.max(batch.readInt32BE(at.lastOffsetDelta), 0) : 0
  return {
    offset: String(batch.readBigInt64BE(0) + BigInt(lastOffsetDelta)),
    timestamp: isCurrent ? String(batch.readBigInt64BE(at.maxTimestamp)) : '-1',
    attributes: 0,
    key: null,
    value: null,
    headers: {},
    isControlRecord: false,
    batchContext: isCurrent ? contextOf(batch) : { producerId: '-1', inTransaction: false },
    fault
  }
}
