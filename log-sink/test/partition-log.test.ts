/** A partition on disk: what is committed counts, what is not is taken back, and nothing is there twice. */

import {
  appendFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { type Committed, decodeCommit } from '../checkpoint.ts'
import { createNameClock } from '../line-file.ts'
import { openPartition, type PartitionOptions, settlePartition } from '../partition-log.ts'
import type { LogRecord } from '../records.ts'

const line = (text: string) =>
  `{"level":"info","time":"2026-11-24T08:00:00.000Z","service":"svc","instance":"a","msg":"${text}"}`
const record = (offset: number, position: number, ...texts: string[]): LogRecord => ({
  offset,
  key: Buffer.from('svc/a'),
  value: Buffer.from(texts.map((text) => `${line(text)}\n`).join('')),
  headers: { position: Buffer.from(String(position)) }
})

/** A partition whose commits are kept here, as a group would. */
function newPartition(t: Test) {
  const directory = mkdtempSync(join(tmpdir(), 'partition-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const group: { committed: Committed } = { committed: { offset: -1, said: undefined } }
  const closed: string[] = []
  const time = { shiftMs: 0 }
  let clock = createNameClock(() => Date.now() + time.shiftMs)
  const options = (sink: string): PartitionOptions => ({
    sink,
    topic: 'logs',
    partition: 0,
    directory: join(directory, sink),
    rotate: { bytes: 1000, age: 1_000_000 },
    clock,
    stalled: async (error) => {
      throw error
    },
    closed: (paths) => closed.push(...paths)
  })
  const commit = async (offset: number, metadata: string) => {
    group.committed = { offset, said: decodeCommit(metadata) }
  }
  /** It may be left as a killed process leaves it; the test's own process closes it in the end. */
  async function open(sink: string) {
    // Another process: what it knows of names is on the disk.
    clock = createNameClock(() => Date.now() + time.shiftMs)
    const log = await openPartition(options(sink), group.committed)
    t.teardown(log.close)
    return log
  }
  const texts = (sink: string, kind = 'lines') =>
    globSync(`${kind}-*`, { cwd: join(directory, sink) })
      .sort()
      .flatMap((file) =>
        readFileSync(join(directory, sink, file), 'utf8')
          .split('\n')
          .slice(0, -1)
      )
      .map((text) => JSON.parse(text))
  const messages = (sink: string) => texts(sink).map(({ msg }) => msg)
  return { directory, group, time, closed, options, commit, open, texts, messages }
}

const refuse = async () => {
  throw new Error('the group has moved on')
}

t.test('what is committed stays, over a restart too', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  t.match(await first.collect([record(0, 1, 'one', 'two')], 1, commit), { written: 2, missing: 0, duplicates: 0 })
  await first.close()
  const second = await open('a')
  t.match(await second.collect([record(1, 2, 'two', 'three')], 2, commit), { written: 1, duplicates: 1 })
  await second.close()
  t.same(messages('a'), ['one', 'two', 'three'])
})

t.test('what is not committed is taken back', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(first.collect([record(1, 2, 'two')], 2, refuse))
  t.same(messages('a'), ['one', 'two'])
  const second = await open('a')
  t.same(messages('a'), ['one'])
  await second.collect([record(1, 2, 'two')], 2, commit)
  t.same(messages('a'), ['one', 'two'])
})

t.test('a commit that was taken, but whose answer was lost, counts', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(first.collect([record(1, 2, 'two')], 2, (...args) => commit(...args).then(refuse)))
  const second = await open('a')
  t.same(messages('a'), ['one', 'two'])
  t.match(await second.collect([record(2, 2, 'two', 'three')], 3, commit), { written: 1, duplicates: 1 })
})

t.test('half a batch that a crash left behind is cut off', async (t) => {
  const { directory, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  const [file = ''] = globSync('lines-*', { cwd: join(directory, 'a') })
  appendFileSync(join(directory, 'a', file), `${line('two')}\n{"half`)
  writeFileSync(join(directory, 'a', 'lines-2999-01-01T00-00-00.000Z.ndjson'), `${line('three')}\n`)
  await (await open('a')).close()
  t.same(messages('a'), ['one'])
})

t.test('another sink goes on where the group stands, and each cuts its own files', async (t) => {
  const { directory, group, open, options, commit, messages } = newPartition(t)
  const a = await open('a')
  await a.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(a.collect([record(1, 2, 'two')], 2, refuse))
  const b = await open('b')
  t.match(await b.collect([record(1, 1, 'one', 'two', 'three')], 2, commit), { written: 2, duplicates: 1 })
  t.same(messages('a'), ['one', 'two'], 'a has not heard of it yet')
  await settlePartition('a', options('a').directory, group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three'])

  const again = await open('a')
  t.match(await again.collect([record(2, 5, 'five')], 3, commit), { written: 1, missing: 1 })
  await b.collect([record(2, 4, 'four')], 3, refuse).catch(() => {})
  await settlePartition('b', join(directory, 'b'), group.committed)
  t.same([...messages('a'), ...messages('b')].sort(), ['five', 'one', 'three', 'two'])
})

t.test('a sink whose very first commit was not taken takes that batch back', async (t) => {
  const { directory, group, open, commit, messages } = newPartition(t)
  const a = await open('a')
  await a.collect([record(0, 1, 'one')], 1, commit)
  const b = await open('b')
  await t.rejects(b.collect([record(1, 2, 'two')], 2, refuse))
  t.same(messages('b'), ['two'])
  await (await open('a')).collect([record(1, 2, 'two', 'three')], 2, commit)
  await settlePartition('b', join(directory, 'b'), group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three'])

  // And again, when it has the partition once more before anyone else has gone on.
  const again = await open('b')
  await t.rejects(again.collect([record(2, 4, 'four')], 3, refuse))
  t.match(await (await open('b')).collect([record(2, 4, 'four')], 3, commit), { written: 1, duplicates: 0 })
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three', 'four'])
})

t.test('an uncommitted first batch of a new partition is removed, however often its commit was refused', async (t) => {
  const { directory, group, open, commit, messages } = newPartition(t)
  for (let times = 0; times < 2; times += 1) {
    const a = await open('a')
    await t.rejects(a.collect([record(0, 1, 'one')], 1, refuse))
  }
  await (await open('b')).collect([record(0, 1, 'one', 'two')], 1, commit)
  await settlePartition('a', join(directory, 'a'), group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two'])
})

t.test('a full file is left between two batches, and handed over once that counts', async (t) => {
  const { closed, open, commit, messages } = newPartition(t)
  const log = await open('a')
  for (let offset = 0; offset < 30; offset += 1)
    await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, commit)
  t.ok(closed.length >= 2)
  t.ok(closed.every((path) => readFileSync(path, 'utf8').endsWith('\n')))
  const before = closed.length
  for (let offset = 30; closed.length === before && offset < 60; offset += 1) {
    await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, refuse).catch(() => {})
  }
  t.equal(closed.length, before, 'nothing is handed over that does not count')
  t.equal(messages('a').length > 30, true)
})

t.test('when the file of the checkpoint has been compressed, another is begun', async (t) => {
  const { directory, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await first.close()
  for (const file of globSync('lines-*', { cwd: join(directory, 'a') })) rmSync(join(directory, 'a', file))
  const second = await open('a')
  await second.collect([record(1, 2, 'two')], 2, commit)
  t.same(messages('a'), ['two'])
})

t.test('offsets that were set back by hand bring nothing twice', async (t) => {
  const { group, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one'), record(1, 2, 'two')], 2, commit)
  await first.close()
  group.committed = { offset: 0, said: undefined }
  const second = await open('a')
  const again = await second.collect([record(0, 1, 'one'), record(1, 2, 'two'), record(2, 3, 'three')], 3, commit)
  t.match(again, { written: 1, duplicates: 2 })
  t.same(messages('a'), ['one', 'two', 'three'])
})

t.test('what is no log line is set aside with its reason and place, its neighbours are kept', async (t) => {
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
  const strange: LogRecord[] = [
    { offset: 8, key: null, value: Buffer.from('x'), headers: undefined },
    {
      offset: 9,
      key: Buffer.from('svc/a'),
      value: Buffer.from(line('three')),
      headers: { position: Buffer.from('-1') }
    },
    { offset: 10, key: Buffer.from('svc/a'), value: null, headers: { position: Buffer.from('9') } }
  ]
  const collected = await log.collect([mixed, ...strange, record(11, 9, 'four')], 12, commit)
  t.same(collected, { written: 3, missing: 0, duplicates: 0, deadLetters: 9 })
  t.same(messages('a'), ['one', 'two', 'four'])
  const letters = texts('a', 'dead-letters')
  t.same(
    letters.map(({ offset, position, reason }) => [offset, position, reason]),
    [
      [7, 2, 'it is not JSON'],
      [7, 3, 'it is no JSON object'],
      [7, 4, 'it is not JSON'],
      [7, 5, 'its level is none of trace, debug, info, warn, error, fatal'],
      [7, 6, 'it is not UTF-8'],
      [7, 7, 'its time is no RFC 3339 time'],
      [8, undefined, 'its key is no source (service/instance)'],
      [9, undefined, 'its header position is no position (a whole number from 1)'],
      [10, undefined, 'it has no value']
    ]
  )
  t.match(letters[0], { topic: 'logs', partition: 0, line: 'not json', time: /^\d{4}/ })
  await t.rejects(log.collect([{ ...strange[0], offset: 12 } as LogRecord], 13, refuse))
  await open('a')
  t.equal(texts('a', 'dead-letters').length, 9, 'a dead letter that is not committed is taken back, too')
})

t.test('a disk that is full is asked again, and what was half written is not there twice', async (t) => {
  const { directory, options, group, commit } = newPartition(t)
  let asked = 0
  const folder = join(directory, 'a')
  const log = await openPartition(
    {
      ...options('a'),
      async stalled() {
        asked += 1
        rmSync(join(folder, 'checkpoint.tmp'), { recursive: true })
      }
    },
    group.committed
  )
  t.teardown(log.close)
  // A folder in its place makes writing a checkpoint fail.
  mkdirSync(join(folder, 'checkpoint.tmp'))
  await log.collect([record(0, 1, 'one')], 1, commit)
  t.equal(asked, 1)
  t.ok(existsSync(join(folder, 'checkpoint.json')))
})

const dayMs = 86_400_000
for (const [steps, shifts] of Object.entries({
  'a day ahead, then corrected': [dayMs, 0],
  'a day behind, then corrected': [-dayMs, 0],
  'back to 1970': [0, -Date.now()],
  'ahead of the year 9999': [9000 * 366 * dayMs, 0, -dayMs]
})) {
  fieldCase(t, 3, `collected files stay in order over a clock that is set, ${steps}`, async (t) => {
    const { directory, time, closed, open, commit, messages } = newPartition(t)
    const names = () => globSync('lines-*', { cwd: join(directory, 'a') }).sort()
    const made: string[] = []
    let offset = 0
    for (const shiftMs of shifts) {
      time.shiftMs = shiftMs
      for (let opened = 0; opened < 2; opened += 1) {
        const log = await open('a')
        for (let files = closed.length; closed.length < files + 2; offset += 1) {
          await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, commit)
          for (const name of names()) if (!made.includes(name)) made.push(name)
        }
        // Killed: it is not closed, and the next one cuts back what does not count.
      }
    }
    await open('a')
    t.same(made, made.toSorted(), 'no name sorts before an earlier one')
    t.same(names(), made, 'no committed file is removed')
    t.same(
      messages('a').map(Number),
      Array.from({ length: offset }, (_, index) => index),
      'each line once, in order'
    )
  })
}
