/** The writing end of the disk buffer. */

import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { listSegments } from '#common/logging/spool/layout.ts'
import { openSpool } from '#common/logging/spool/spool.ts'
import { newSpool, numbered, startShipping, writeEach } from './new-spool.ts'

t.test('writes the lines of a turn of the event loop when it ends', async (t) => {
  const { spool, own } = newSpool(t)
  for (const line of numbered(1, 500)) spool.write(`${line}\n`)
  t.notOk(existsSync(own))
  await new Promise((done) => setImmediate(done))
  t.ok(listSegments(own).length > 0)
  spool.close()
})

t.test('drops a line that is too long, and keeps its position empty', async (t) => {
  const { directory, dropped, spool } = newSpool(t)
  writeEach(spool, ['before', 'x'.repeat(70_000), 'after'])
  t.same(dropped, [[1, 'too_long']])
  const shipping = startShipping(directory)
  await shipping.until(() => shipping.state.shipped === 2)
  const positions = shipping.sent.map(({ position, lines }) => [position, lines])
  t.same(positions, [
    [1, ['before']],
    [3, ['after']]
  ])
  await shipping.end()
})

t.test('drops and counts lines while the disk fails, reports that once, and writes again afterwards', async (t) => {
  const { directory, own, dropped, disk, spool } = newSpool(t)
  writeFileSync(join(directory, 'host-1'), 'a file in place of the folder')
  writeEach(spool, ['lost 1', 'lost 2'])
  t.same(dropped, [
    [1, 'disk'],
    [1, 'disk']
  ])
  t.equal(disk.length, 1)
  rmSync(own)
  writeEach(spool, ['kept'])
  t.same([disk.length, disk[1]], [2, undefined])
  t.equal(listSegments(own)[0]?.first, 3, 'the positions of dropped lines stay empty')
})

t.test('closes a segment at its age', async (t) => {
  const directory = t.testdir()
  const spool = openSpool(directory, 2 ** 20, { dropped: () => {}, disk: () => {} }, 0)
  writeEach(spool, ['a', 'b'])
  spool.close()
  t.equal(listSegments(directory).length, 2)
})
