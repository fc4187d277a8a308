/** A partition log: committed lines stay, all others are removed, and no line is collected twice. */

import { appendFileSync, globSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { recoverPartition } from '../partition-recovery.ts'
import { line, newPartition, record, reject } from './new-partition.ts'

t.test('keeps committed lines over a restart', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  t.match(await first.collect([record(0, 1, 'one', 'two')], 1, commit), { written: 2, missing: 0, duplicates: 0 })
  await first.close()
  const second = await open('a')
  t.match(await second.collect([record(1, 2, 'two', 'three')], 2, commit), { written: 1, duplicates: 1 })
  await second.close()
  t.same(messages('a'), ['one', 'two', 'three'])
})

t.test('removes lines that were not committed', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(first.collect([record(1, 2, 'two')], 2, reject))
  t.same(messages('a'), ['one', 'two'])
  const second = await open('a')
  t.same(messages('a'), ['one'])
  await second.collect([record(1, 2, 'two')], 2, commit)
  t.same(messages('a'), ['one', 'two'])
})

t.test('keeps lines whose commit was accepted without an answer', async (t) => {
  const { open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(first.collect([record(1, 2, 'two')], 2, (...args) => commit(...args).then(reject)))
  const second = await open('a')
  t.same(messages('a'), ['one', 'two'])
  t.match(await second.collect([record(2, 2, 'two', 'three')], 3, commit), { written: 1, duplicates: 1 })
})

t.test('removes half a batch after a crash', async (t) => {
  const { directory, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  const [file = ''] = globSync('lines-*', { cwd: join(directory, 'a') })
  appendFileSync(join(directory, 'a', file), `${line('two')}\n{"half`)
  writeFileSync(join(directory, 'a', 'lines-2999-01-01T00-00-00.000Z.ndjson'), `${line('three')}\n`)
  await (await open('a')).close()
  t.same(messages('a'), ['one'])
})

t.test('another sink continues at the committed offset, and each sink cuts its own files', async (t) => {
  const { directory, group, open, options, commit, messages } = newPartition(t)
  const a = await open('a')
  await a.collect([record(0, 1, 'one')], 1, commit)
  await t.rejects(a.collect([record(1, 2, 'two')], 2, reject))
  const b = await open('b')
  t.match(await b.collect([record(1, 1, 'one', 'two', 'three')], 2, commit), { written: 2, duplicates: 1 })
  t.same(messages('a'), ['one', 'two'], 'a has not recovered yet')
  await recoverPartition('a', options('a').directory, group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three'])

  const again = await open('a')
  t.match(await again.collect([record(2, 5, 'five')], 3, commit), { written: 1, missing: 1 })
  await b.collect([record(2, 4, 'four')], 3, reject).catch(() => {})
  await recoverPartition('b', join(directory, 'b'), group.committed)
  t.same([...messages('a'), ...messages('b')].sort(), ['five', 'one', 'three', 'two'])
})

t.test('a sink removes its first batch if the commit was rejected', async (t) => {
  const { directory, group, open, commit, messages } = newPartition(t)
  const a = await open('a')
  await a.collect([record(0, 1, 'one')], 1, commit)
  const b = await open('b')
  await t.rejects(b.collect([record(1, 2, 'two')], 2, reject))
  t.same(messages('b'), ['two'])
  await (await open('a')).collect([record(1, 2, 'two', 'three')], 2, commit)
  await recoverPartition('b', join(directory, 'b'), group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three'])

  // And again, when it owns the partition once more before another sink has continued.
  const again = await open('b')
  await t.rejects(again.collect([record(2, 4, 'four')], 3, reject))
  t.match(await (await open('b')).collect([record(2, 4, 'four')], 3, commit), { written: 1, duplicates: 0 })
  t.same([...messages('a'), ...messages('b')], ['one', 'two', 'three', 'four'])
})

t.test('removes the first batch of a new partition, however often its commit was rejected', async (t) => {
  const { directory, group, open, commit, messages } = newPartition(t)
  for (let times = 0; times < 2; times += 1) {
    const a = await open('a')
    await t.rejects(a.collect([record(0, 1, 'one')], 1, reject))
  }
  await (await open('b')).collect([record(0, 1, 'one', 'two')], 1, commit)
  await recoverPartition('a', join(directory, 'a'), group.committed)
  t.same([...messages('a'), ...messages('b')], ['one', 'two'])
})

t.test('collects no line twice after the offsets were reset', async (t) => {
  const { group, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one'), record(1, 2, 'two')], 2, commit)
  await first.close()
  group.committed = { offset: 0, commitMetadata: undefined }
  const second = await open('a')
  const again = await second.collect([record(0, 1, 'one'), record(1, 2, 'two'), record(2, 3, 'three')], 3, commit)
  t.match(again, { written: 1, duplicates: 2 })
  t.same(messages('a'), ['one', 'two', 'three'])
})
