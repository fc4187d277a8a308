/** Properties of the reader of log records: records of any kind are collected, refused or dead letters, and none throws. */

import fc from 'fast-check'
import t from 'tap'
import { noPositions } from '../positions.ts'
import { readRecordBatch } from '../record-batch.ts'
import type { LogRecord } from '../records.ts'
import { line, record } from './new-partition.ts'

const place = { topic: 'logs', partition: 0 }
const maxDeadLetterBytes = 17 * 2 ** 20
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
const text = fc.string({ unit: 'grapheme', maxLength: 20 }).map((each) => JSON.stringify(each).slice(1, -1))

/** Counts the lines of records and checks the bounds. @throws if they do not agree */
function read(records: LogRecord[]) {
  const batch = readRecordBatch(records, noPositions, place)
  const { services, deadLetters, refused } = batch.counts
  const written = Object.values(services).reduce((sum, each) => sum + each.written, 0)
  const collected = Buffer.concat(batch.lines).toString('utf8').split('\n').slice(0, -1)
  if (collected.length !== written) throw new Error(`${collected.length} lines, ${written} counted`)
  for (const each of collected) {
    const { service, instance } = JSON.parse(each)
    if (typeof instance !== 'string') throw new Error(`collected ${each}`)
    if (!records.some(({ key }) => String(key) === `${service}/${instance}`)) throw new Error(`collected ${each}`)
  }
  for (const letter of batch.deadLetters) JSON.parse(letter.toString('utf8'))
  if (Buffer.concat(batch.deadLetters).length > maxDeadLetterBytes) throw new Error('too many dead letters')
  if (Object.values(refused).reduce((sum, count) => sum + count) > deadLetters)
    throw new Error('refused without a trace')
  return batch
}

t.test('lines of a source are collected unchanged, once, in whatever records they arrive', async (t) => {
  const property = fc.property(fc.array(fc.array(text, { minLength: 1, maxLength: 5 }), { maxLength: 8 }), (groups) => {
    let next = 1
    const records = groups.flatMap((texts, index) => {
      const each = record(index, next, ...texts)
      next += texts.length
      return index % 3 === 0 ? [each, each] : [each]
    })
    const batch = read(records)
    const expected = groups.flat().map((each) => `${line(each)}\n`)
    return Buffer.concat(batch.lines).toString('utf8') === expected.join('') && batch.counts.missing === 0
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('keys, headers and values of any kind are dead letters or refused, and none throws', async (t) => {
  const anyLine = fc.oneof(
    bytes(80),
    fc.json().map((json) => Buffer.from(json.padEnd(64))),
    fc
      .constantFrom(line('one'), line('x').replace('svc', 'other'), line('x').replace('"a"', '["a"]'), '', '[]')
      .map((each) => Buffer.from(each))
  )
  const ends = fc
    .array(anyLine, { maxLength: 6 })
    .map((lines) => Buffer.concat(lines.flatMap((each) => [each, Buffer.from('\n')])))
  const position = fc.oneof(
    bytes(6),
    fc.constantFrom('1', '2', '0', '-1', '1e3', '9'.repeat(15), '9'.repeat(16), ['1', '2'])
  )
  const hostile = fc.record({
    key: fc.oneof(fc.option(bytes(30)), fc.constant(Buffer.from('svc/a'))),
    value: fc.option(fc.oneof(bytes(300), ends)),
    headers: fc.oneof(fc.constant(undefined), fc.record({ position }))
  })
  const property = fc.property(fc.array(hostile, { maxLength: 6 }), (all) => {
    read(all.map((each, offset) => ({ offset, ...each })))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 1000 }))
})

// An added line end is an added line, whose position hides another one: docs/security/what-we-leave-out.md, log records.
t.test('a valid record with changed bytes hides no other line', async (t) => {
  const change = fc.record({ at: fc.nat(), byte: fc.integer({ min: 11, max: 255 }) })
  const property = fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
    const changed = record(0, 1, 'one', 'two', 'three')
    const value = Buffer.from(changed.value as Buffer)
    for (const { at, byte } of changes) value[at % value.length] = byte
    const { lines, counts } = read([{ ...changed, value }, record(1, 1, 'one', 'two', 'three', 'four')])
    return counts.missing === 0 && Buffer.concat(lines).includes(line('four'))
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})
