/** Files that are complete are compressed, leftovers of compression go, and other files stay. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fieldCase } from '#common/testing/field-cases.ts'
import { silentLog } from '#common/testing/service.ts'
import { keepFiles } from '../keeper.ts'

fieldCase(t, 3, 'the draft of a compression that was killed is removed', async (t) => {
  const folder = join(t.testdir({}), 'partition-0')
  mkdirSync(folder)
  const [plain, draft] = ['2026-11-24', '2026-11-25'].map((day) => join(folder, `lines-${day}T08-00-00.000Z.ndjson`))
  writeFileSync(`${plain}`, 'a line\n')
  writeFileSync(`${plain}.gz.tmp`, 'half')
  writeFileSync(`${draft}.gz.tmp`, 'half')
  writeFileSync(join(folder, 'backup.gz'), Buffer.alloc(5000))
  const keeper = keepFiles(folder, 1000, () => {}, silentLog)
  keeper.take([`${plain}`])
  // Looking at files ends with what is in progress.
  await new Promise<void>((done) => setTimeout(done, 0))
  for (const giveUpAt = performance.now() + 10_000; existsSync(`${draft}.gz.tmp`); ) {
    if (performance.now() > giveUpAt) break
    await new Promise<void>((done) => setTimeout(done, 10))
  }
  await keeper.close()
  t.ok(existsSync(`${plain}.gz`))
  t.notOk(existsSync(`${plain}.gz.tmp`))
  t.notOk(existsSync(`${draft}.gz.tmp`))
  t.ok(existsSync(join(folder, 'backup.gz')), 'a file that is no file of lines stays')
})
