/** Rotation of collected files: their names are their order, even if the clock is set. */

import { globSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { newPartition, record, reject } from './new-partition.ts'

t.test('replaces a full file between two batches, and completes it after the commit', async (t) => {
  const { complete, open, commit, messages } = newPartition(t)
  const log = await open('a')
  for (let offset = 0; offset < 30; offset += 1)
    await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, commit)
  t.ok(complete.length >= 2)
  t.ok(complete.every((path) => readFileSync(path, 'utf8').endsWith('\n')))
  const before = complete.length
  for (let offset = 30; complete.length === before && offset < 60; offset += 1) {
    await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, reject).catch(() => {})
  }
  t.equal(complete.length, before, 'a file is complete only after its commit')
  t.equal(messages('a').length > 30, true)
})

t.test('creates a file if the file of the checkpoint has been compressed', async (t) => {
  const { directory, open, commit, messages } = newPartition(t)
  const first = await open('a')
  await first.collect([record(0, 1, 'one')], 1, commit)
  await first.close()
  for (const file of globSync('lines-*', { cwd: join(directory, 'a') })) rmSync(join(directory, 'a', file))
  const second = await open('a')
  await second.collect([record(1, 2, 'two')], 2, commit)
  t.same(messages('a'), ['two'])
})

const dayMs = 86_400_000
for (const [steps, shifts] of Object.entries({
  'a day ahead, then corrected': [dayMs, 0],
  'a day behind, then corrected': [-dayMs, 0],
  'back to 1970': [0, -Date.now()],
  'ahead of the year 9999': [9000 * 366 * dayMs, 0, -dayMs]
})) {
  fieldCase(t, 3, `collected files stay in order over a clock that is set, ${steps}`, async (t) => {
    const { directory, time, complete, open, commit, messages } = newPartition(t)
    const names = () => globSync('lines-*', { cwd: join(directory, 'a') }).sort()
    const created: string[] = []
    let offset = 0
    for (const shiftMs of shifts) {
      time.shiftMs = shiftMs
      for (let opened = 0; opened < 2; opened += 1) {
        const log = await open('a')
        for (let files = complete.length; complete.length < files + 2; offset += 1) {
          await log.collect([record(offset, offset + 1, `${offset}`)], offset + 1, commit)
          for (const name of names()) if (!created.includes(name)) created.push(name)
        }
        // Killed: it is not complete, and the next one cuts back what does not count.
      }
    }
    await open('a')
    t.same(created, created.toSorted(), 'no name sorts before an earlier one')
    t.same(names(), created, 'no committed file is removed')
    t.same(
      messages('a').map(Number),
      Array.from({ length: offset }, (_, index) => index),
      'each line once, in order'
    )
  })
}
