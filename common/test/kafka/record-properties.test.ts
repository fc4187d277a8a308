/** Properties of the decoder of record batches: bytes of any kind become records or one documented fault, within the bounds. */

import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { type DecodedRecord, decodeRecordSet, decodingLimits } from '#common/kafka/record-batches.ts'
import { batchOf, encodeRecords } from './encoded-batches.ts'

const compressions = { none: (bytes: Buffer) => bytes, gzip: gzipSync, zstd: zstdCompressSync }
const types = ['none', 'gzip', 'zstd'] as const
const faults = new RegExp(
  `^(${[
    'the format of the batch is not supported',
    'the batch has no header',
    'the batch has more than \\d+ (records|bytes)',
    'the batch cannot be decompressed \\([\\w]+\\)',
    'the compression (snappy|lz4|type \\d) is not supported',
    'a record has (no content|more than 64 headers)',
    'a header has no name',
    'a length exceeds the batch',
    'a number has more than 64 bits'
  ].join('|')})$`
)

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
const name = fc.string({ unit: 'binary', maxLength: 8 }).filter((text) => text.isWellFormed())
const headers = fc.dictionary(name, fc.oneof(bytes(20), fc.array(bytes(4), { minLength: 2, maxLength: 4 })), {
  maxKeys: 6
})
const record = fc.record({ key: fc.option(bytes(40)), value: fc.option(bytes(400)), headers })
const records = fc.array(record, { minLength: 1, maxLength: 8 })
const batch = fc
  .record({ records, type: fc.constantFrom(...types), offset: fc.nat(1e9) })
  .map(({ records, type, offset }) => ({
    records,
    offset,
    encoded: batchOf(compressions[type](encodeRecords(records)), { offset, type, count: records.length })
  }))

const decode = (set: Buffer) => decodeRecordSet(set, { left: decodingLimits.responseBytes })

/** @throws unless all records are within the bounds, and each fault is a documented one */
function requireBounds(decoded: DecodedRecord[], batches: number): void {
  const size = ({ key, value }: DecodedRecord) => (key?.length ?? 0) + (value?.length ?? 0)
  const total = decoded.reduce((sum, each) => sum + size(each), 0)
  if (total > batches * decodingLimits.batchBytes) throw new Error(`${total} bytes`)
  if (decoded.length > batches * decodingLimits.batchRecords) throw new Error(`${decoded.length} records`)
  for (const { fault, headers, value } of decoded) {
    if (Object.values(headers).flat().length > decodingLimits.recordHeaders) throw new Error('too many headers')
    if (fault !== undefined && (!faults.test(fault) || value !== null)) throw new Error(`fault: ${fault}`)
  }
}

t.test('valid batches are decoded to what was encoded', async (t) => {
  const property = fc.property(fc.array(batch, { maxLength: 3 }), (batches) => {
    const decoded = decode(Buffer.concat(batches.map(({ encoded }) => encoded)))
    const content = ({ offset, key, value, headers, fault }: Partial<DecodedRecord>) => [
      offset,
      fault,
      key?.toString('hex'),
      value?.toString('hex'),
      Object.entries(headers ?? {}).map(([each, held]) => [each, [held].flat().map((part) => part?.toString('hex'))])
    ]
    const expected = batches.flatMap(({ records, offset }) =>
      records.map((each, index) => content({ ...each, offset: String(offset + index) }))
    )
    return JSON.stringify(decoded.map(content)) === JSON.stringify(expected)
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('bytes of any kind in place of batches, or of their records, become documented faults', async (t) => {
  const anyBytes = fc.property(bytes(300), (set) => requireBounds(decode(set), 1 + set.length / 17))
  t.doesNotThrow(() => fc.assert(anyBytes, { numRuns: 1000 }))
  const options = fc.record({
    type: fc.constantFrom(...types, 'snappy', 'lz4'),
    count: fc.oneof(fc.integer({ min: 1 - 2 ** 31 }), fc.nat(20)),
    magic: fc.constantFrom(0, 1, 2, 2, 2),
    flags: fc.constantFrom(0, 5, 8, 0x38)
  })
  const anyContent = fc.property(bytes(300), options, fc.boolean(), (content, batch, isCompressed) => {
    const compress = compressions[batch.type as 'none'] ?? compressions.none
    requireBounds(decode(batchOf(isCompressed ? compress(content) : content, batch)), 1)
  })
  t.doesNotThrow(() => fc.assert(anyContent, { numRuns: 1000 }))
})

t.test(
  'a batch with changed, missing or added bytes is decoded within the bounds, and so is the one behind it',
  async (t) => {
    const change = fc.record({ at: fc.nat(), bytes: bytes(4), removed: fc.nat(4) })
    const lengthField = 12
    const property = fc.property(batch, fc.array(change, { minLength: 1, maxLength: 4 }), ({ encoded }, changes) => {
      let content = encoded.subarray(lengthField)
      for (const { at, bytes, removed } of changes) {
        const from = at % content.length
        content = Buffer.concat([content.subarray(0, from), bytes, content.subarray(from + removed)])
        if (content.length < 5) return
      }
      const changed = Buffer.concat([encoded.subarray(0, lengthField), content])
      changed.writeInt32BE(content.length, 8)
      const behind = batchOf(encodeRecords([{ value: 'behind' }]), { offset: 2 ** 40 })
      const decoded = decode(Buffer.concat([changed, behind]))
      requireBounds(decoded, 2)
      if (String(decoded.at(-1)?.value) !== 'behind') throw new Error('the batch behind is missing')
    })
    t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
  }
)
