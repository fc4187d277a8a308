/** Dead letters: invalid lines and records, with the reason and their place. */

import t from 'tap'
import type { LogRecord } from '../records.ts'
import { line, newPartition, record, reject } from './new-partition.ts'

t.test('writes invalid lines and records to the dead-letter file, and keeps the others', async (t) => {
  const { open, commit, messages, texts } = newPartition(t)
  const log = await open('a')
  const mixed = record(7, 1, 'one')
  mixed.value = Buffer.concat([
    Buffer.from(
      `${line('one')}\nnot json\n[1]\n\n{"level":"loud","time":"2026-11-24T08:00:00Z","service":"s","msg":"m"}\n`
    ),
    Buffer.from([0xff, 0xfe, 0x0a]),
    Buffer.from(`{"time":"yesterday"}\n${line('two')}`)
  ])
  const invalid: LogRecord[] = [
    { offset: 8, key: null, value: Buffer.from('x'), headers: undefined },
    {
      offset: 9,
      key: Buffer.from('svc/a'),
      value: Buffer.from(line('three')),
      headers: { position: Buffer.from('-1') }
    },
    { offset: 10, key: Buffer.from('svc/a'), value: null, headers: { position: Buffer.from('9') } }
  ]
  const collected = await log.collect([mixed, ...invalid, record(11, 9, 'four')], 12, commit)
  t.same(collected, {
    written: 3,
    missing: 0,
    duplicates: 0,
    deadLetters: 9,
    refused: { batch: 0, position: 0, source: 0 }
  })
  t.same(messages('a'), ['one', 'two', 'four'])
  const short = 'the line is shorter than any log line'
  const letters = texts('a', 'dead-letters')
  t.same(
    letters.map(({ offset, position, reason }) => [offset, position, reason]),
    [
      [7, 2, short],
      [7, 3, short],
      [7, 4, short],
      [7, 5, 'level is none of trace, debug, info, warn, error, fatal'],
      [7, 6, 'the line is not UTF-8'],
      [7, 7, short],
      [8, undefined, 'the key is not a source (service/instance)'],
      [9, undefined, 'the header position is not a whole number from 1'],
      [10, undefined, 'the record has no value']
    ]
  )
  t.match(letters[0], { topic: 'logs', partition: 0, line: 'not json', time: /^\d{4}/ })
  await t.rejects(log.collect([{ ...invalid[0], offset: 12 } as LogRecord], 13, reject))
  await open('a')
  t.equal(texts('a', 'dead-letters').length, 9, 'a dead letter that was not committed is removed')
})

t.test(
  'refuses a record of which a line names another service or instance, and does not move its positions',
  async (t) => {
    const { open, commit, messages, texts } = newPartition(t)
    const log = await open('a')
    const forged = ['"service":"other"', '"instance":"b"'].map((field, index) => {
      const own = index === 0 ? '"service":"svc"' : '"instance":"a"'
      const value = Buffer.from(`${line('two')}\n${line('forged').replace(own, field)}\n`)
      return { ...record(index + 1, 2, ''), value }
    })
    const collected = await log.collect([record(0, 1, 'one'), ...forged, record(3, 2, 'two')], 4, commit)
    t.match(collected, { written: 2, missing: 0, duplicates: 0, deadLetters: 2, refused: { source: 2 } })
    t.same(messages('a'), ['one', 'two'])
    t.match(texts('a', 'dead-letters')[0], {
      offset: 1,
      source: 'svc/a',
      reason: 'a line names another source than the key'
    })
  }
)

t.test('a line whose instance is not a string is a dead letter, even if the key has its text', async (t) => {
  const { open, commit, messages, texts } = newPartition(t)
  const log = await open('a')
  const instances = [
    ['a', '"instance":["a"],'],
    ['7', '"instance":7,'],
    ['null', '"instance":null,'],
    ['undefined', '']
  ] as const
  const records = instances.map(([text, field], offset) => {
    const wrong = line('wrong').replace('"instance":"a",', field)
    const valid = line(text).replace('"a"', JSON.stringify(text))
    const value = Buffer.from(`${wrong}\n${valid}\n`)
    return { ...record(offset, 1, ''), key: Buffer.from(`svc/${text}`), value }
  })
  const collected = await log.collect(records, records.length, commit)
  t.match(collected, { written: 4, missing: 0, deadLetters: 4, refused: { batch: 0, position: 0, source: 0 } })
  t.same(
    messages('a'),
    instances.map(([text]) => text)
  )
  for (const { reason } of texts('a', 'dead-letters')) t.equal(reason, 'instance is not a string')
})
