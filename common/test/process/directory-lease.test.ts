/** A directory belongs to one living process; that of a dead one can be taken over. */

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { takeOwnership } from '#common/process/directory-lease.ts'

t.test('a directory that a living process has is not given to another', async (t) => {
  const directory = t.testdir({})
  const own = takeOwnership(directory, 1000)
  t.ok(own)
  t.equal(takeOwnership(directory, 1000), undefined)
  t.equal(own?.renew(), true)
  own?.leave()
  t.ok(takeOwnership(directory, 1000))
})

t.test('a directory that a process left behind when it died is', async (t) => {
  const directory = t.testdir({})
  const script = `import { takeOwnership } from '#common/process/directory-lease.ts'; takeOwnership(process.argv[1], 1000); process.kill(process.pid, 'SIGKILL')`
  spawnSync(process.execPath, ['--input-type=module', '--eval', script, '--', directory], {
    cwd: join(import.meta.dirname, '..', '..', '..')
  })
  t.ok(existsSync(join(directory, 'owner.json')))
  t.ok(takeOwnership(directory, 1000))
})

t.test('an owner that cannot be seen counts as dead when it has not renewed for long', async (t) => {
  const directory = t.testdir({})
  const file = join(directory, 'owner.json')
  takeOwnership(directory, 5000)
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), host: 'elsewhere' }))
  t.equal(takeOwnership(directory, 5000), undefined)
  const before = new Date(Date.now() - 6000)
  utimesSync(file, before, before)
  t.ok(takeOwnership(directory, 5000))
})

t.test('an id that another process has by now does not keep a directory', async (t) => {
  const directory = t.testdir({})
  const file = join(directory, 'owner.json')
  takeOwnership(directory, 1000)
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), startedAt: '1' }))
  t.ok(takeOwnership(directory, 1000))
})

t.test('an owner that was given up learns of it', async (t) => {
  const directory = t.testdir({})
  const own = takeOwnership(directory, 1000)
  writeFileSync(join(directory, 'owner.json'), '{}')
  t.equal(own?.renew(), false)
  own?.leave()
  t.equal(readFileSync(join(directory, 'owner.json'), 'utf8'), '{}', 'it does not overwrite what another has written')
})
