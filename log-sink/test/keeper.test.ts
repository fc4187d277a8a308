/** Retention and compression of collected files. */

import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { silentLog } from '#common/testing/service.ts'
import { keepFiles } from '../keeper.ts'

/** Runs the keeper once. @returns the size that it reported */
async function keep(directory: string, maxBytes: number, paths: string[] = []): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>()
  const keeper = keepFiles(directory, maxBytes, resolve, silentLog)
  keeper.take(paths)
  const size = await promise
  await keeper.close()
  return size
}

/** Files of 1000 bytes each, in two partitions. */
function filesOf(t: Test, names: string[]) {
  const directory = t.testdir({ 'partition-0': {}, 'partition-1': {} })
  for (const name of names) writeFileSync(join(directory, name), Buffer.alloc(1000))
  const present = () => names.filter((name) => existsSync(join(directory, name)))
  return { directory, present }
}

const file = (partition: number, day: number, kind = 'lines', end = '.gz') =>
  `partition-${partition}/${kind}-2026-11-${day}T08-00-00.000Z.ndjson${end}`

t.test('removes the oldest compressed files of all partitions until the others fit', async (t) => {
  const [oldest, second, third, newest] = [file(1, 10), file(0, 11, 'dead-letters'), file(1, 12), file(0, 13)]
  const { directory, present } = filesOf(t, [newest, third, second, oldest])
  // The age of a file is its name, not the time of its last change.
  utimesSync(join(directory, oldest), new Date(), new Date())
  t.equal(await keep(directory, 4000), 4000)
  t.same(present(), [newest, third, second, oldest], 'all files fit')
  t.equal(await keep(directory, 2500), 2000)
  t.same(present(), [newest, third])
})

t.test('removes neither files that are written nor foreign files', async (t) => {
  const plain = file(0, 10, 'lines', '')
  const { directory, present } = filesOf(t, [
    plain,
    file(0, 11),
    'partition-0/checkpoint.json',
    'partition-0/backup.gz'
  ])
  t.equal(await keep(directory, 1), 2000, 'the plain file and the checkpoint')
  t.same(present(), [plain, 'partition-0/checkpoint.json', 'partition-0/backup.gz'])
})

t.test('compresses a complete file before it applies the limit', async (t) => {
  const plain = file(0, 10, 'lines', '')
  const { directory } = filesOf(t, [plain, file(0, 11)])
  t.ok((await keep(directory, 1500, [join(directory, plain)])) < 1500)
  t.same(readdirSync(join(directory, 'partition-0')).length, 2)
  t.ok(existsSync(join(directory, `${plain}.gz`)))
})

fieldCase(t, 3, 'the draft of a compression that was killed is removed', async (t) => {
  const folder = join(t.testdir({}), 'partition-0')
  mkdirSync(folder)
  const [plain, draft] = ['2026-11-24', '2026-11-25'].map((day) => join(folder, `lines-${day}T08-00-00.000Z.ndjson`))
  writeFileSync(`${plain}`, 'a line\n')
  writeFileSync(`${plain}.gz.tmp`, 'half')
  writeFileSync(`${draft}.gz.tmp`, 'half')
  await keep(folder, 1000, [`${plain}`])
  t.ok(existsSync(`${plain}.gz`))
  t.notOk(existsSync(`${plain}.gz.tmp`))
  t.notOk(existsSync(`${draft}.gz.tmp`))
})
