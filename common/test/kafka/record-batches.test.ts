/** Record batches are decoded within bounds; what exceeds them becomes one record with a fault, at the last offset. */

import { constants, gzipSync, zstdCompressSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { decodeRecordSet, decodingLimits } from '#common/kafka/record-batches.ts'
import { batchOf, encodeRecords } from './encoded-batches.ts'

const budget = () => ({ left: decodingLimits.responseBytes })
const decode = (...batches: Buffer[]) => decodeRecordSet(Buffer.concat(batches), budget())
const good = batchOf(encodeRecords([{ key: 'after', value: 'good' }]), { offset: 500 })

/** Asserts that a batch of two offsets is skipped, and the batch behind it is decoded. */
function skips(test: Test, batch: Buffer, fault: RegExp): void {
  const records = decode(batch, good)
  test.match(records, [
    { offset: '101', value: null, fault },
    { offset: '500', fault: undefined }
  ])
}

t.test('decodes the records of kafkajs, compressed or not', async (t) => {
  const records = [
    { key: 'svc/a', value: 'one', headers: { position: '1', tag: ['a', 'b', 'c'] } },
    { key: null, value: null },
    { key: '', value: Buffer.alloc(1000, 'x') }
  ]
  const content = encodeRecords(records)
  const batches = [
    batchOf(content, { count: 3 }),
    batchOf(gzipSync(content), { count: 3, type: 'gzip', offset: 103 }),
    batchOf(zstdCompressSync(content), { count: 3, type: 'zstd', offset: 106, flags: 0x38 })
  ]
  const decoded = decode(...batches)
  t.same(
    decoded.map(({ offset }) => offset),
    ['100', '101', '102', '103', '104', '105', '106', '107', '108']
  )
  t.match(decoded[0], { key: Buffer.from('svc/a'), value: Buffer.from('one'), timestamp: '1001' })
  t.same(String(decoded[0]?.headers.position), '1')
  t.same(String(decoded[0]?.headers.tag), 'a,b,c')
  t.match(decoded[4], { key: null, value: null, isControlRecord: false, batchContext: { inTransaction: false } })
  t.match(decoded[8], {
    timestamp: '2000',
    isControlRecord: true,
    batchContext: { producerId: '7', inTransaction: true }
  })
  t.equal(decoded[5]?.value?.length, 1000)
  t.ok(decoded.every(({ fault }) => fault === undefined))
})

t.test('skips a batch that decompresses to more than the limit, without the memory for it', async (t) => {
  const content = encodeRecords([{ value: Buffer.alloc(200 * 2 ** 20, ' ') }])
  const bombs = { zstd: zstdCompressSync(content), gzip: gzipSync(content) }
  for (const [type, bomb] of Object.entries(bombs)) {
    const before = process.memoryUsage.rss()
    skips(t, batchOf(bomb, { type: type as 'zstd', count: 2 }), /the batch has more than 4194304 bytes/)
    const grown = (process.memoryUsage.rss() - before) / 2 ** 20
    t.ok(grown < 50, `${type}: ${Math.round(grown)} MiB`)
  }
  const wide = zstdCompressSync(content, { params: { [constants.ZSTD_c_windowLog]: 27 } })
  skips(t, batchOf(wide, { type: 'zstd', count: 2 }), /cannot be decompressed|more than/)
})

t.test('skips a batch with too many records or headers, or with malformed lengths', async (t) => {
  const tiny = encodeRecords([{}])
  const many = batchOf(zstdCompressSync(Buffer.alloc(tiny.length * 20_000, tiny)), { type: 'zstd', count: 20_000 })
  t.match(decode(many, good), [{ offset: '20099', fault: /more than 16384 records/ }, { offset: '500' }])
  const headers = Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`h${index}`, 'x']))
  skips(t, batchOf(encodeRecords([{ headers }, {}]), { count: 2 }), /more than 64 headers/)
  const content = encodeRecords([{ value: 'one' }, { value: 'two' }])
  skips(t, batchOf(content.subarray(0, -3), { count: 2 }), /a length exceeds the batch/)
  skips(t, batchOf(Buffer.alloc(40, 0xff), { count: 2 }), /a number has more than 64 bits/)
  skips(t, batchOf(Buffer.alloc(0), { count: 2 }), /a length exceeds the batch/)
  t.match(decode(batchOf(content, { count: -1 }), good), [{ offset: '100', fault: /records/ }, { offset: '500' }])
})

t.test('skips compressions and formats that are not supported, and bytes that do not decompress', async (t) => {
  const content = encodeRecords([{ value: 'one' }, { value: 'two' }])
  for (const type of ['snappy', 'lz4'] as const) {
    skips(t, batchOf(content, { type, count: 2 }), new RegExp(`the compression ${type} is not supported`))
  }
  for (const type of ['gzip', 'zstd'] as const) {
    skips(t, batchOf(content, { type, count: 2 }), /the batch cannot be decompressed/)
  }
  const old = batchOf(content, { count: 2, magic: 1 })
  t.match(decode(old, good), [{ offset: '100', fault: /the format of the batch is not supported/ }, { offset: '500' }])
})

t.test('a response has one budget; beyond it, each partition decodes one batch', async (t) => {
  const large = batchOf(zstdCompressSync(encodeRecords([{ value: Buffer.alloc(3 * 2 ** 20) }])), { type: 'zstd' })
  const partition = Buffer.concat(Array.from({ length: 10 }, () => large))
  const left = budget()
  t.equal(decodeRecordSet(partition, left).length, 6)
  t.equal(decodeRecordSet(partition, left).length, 1)
  t.equal(decodeRecordSet(partition.subarray(0, large.length - 1), left).length, 0, 'a partial batch is left out')
})
