/** Folders that root gives to a user or takes back: a link in the place of a folder leads nowhere. */

import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { handOver, takeBack } from '../system-user.ts'

const user = { uid: 65_533, gid: 65_533 }
const asRoot = { skip: process.getuid?.() !== 0 }

/** A folder of root with mode 755, beside a folder of the data. */
function folders() {
  const parent = mkdtempSync(join(tmpdir(), 'owners-'))
  t.teardown(() => rmSync(parent, { recursive: true, force: true }))
  const [target, dataDir] = [join(parent, 'target'), join(parent, 'data')]
  mkdirSync(target)
  chmodSync(target, 0o755)
  mkdirSync(dataDir)
  const stateOf = (path: string) => [statSync(path).uid, statSync(path).mode & 0o777]
  return { target, dataDir, stateOf }
}

t.test('a folder belongs to its user only', asRoot, async (t) => {
  const { dataDir, stateOf } = folders()
  await handOver(join(dataDir, 'spool'), user)
  t.same(stateOf(join(dataDir, 'spool')), [user.uid, 0o700])
})

t.test('a link in the place of a folder is refused', asRoot, async (t) => {
  const { target, dataDir, stateOf } = folders()
  symlinkSync(target, join(dataDir, 'spool'))
  await t.rejects(handOver(join(dataDir, 'spool'), user), { code: /ENOTDIR|ELOOP/ })
  t.same(stateOf(target), [0, 0o755])
})

t.test('root changes nothing below a folder of the user', asRoot, async (t) => {
  const { target, dataDir, stateOf } = folders()
  await handOver(join(dataDir, 'spool'), user)
  symlinkSync(target, join(dataDir, 'spool', 'logs'))
  for (const path of ['logs', 'logs/new']) await handOver(join(dataDir, 'spool', path), user)
  t.same(stateOf(target), [0, 0o755])
  t.notOk(statSync(join(target, 'new'), { throwIfNoEntry: false }))
})

t.test('root takes a folder back without its links', asRoot, async (t) => {
  const { target, dataDir, stateOf } = folders()
  const spool = join(dataDir, 'spool')
  mkdirSync(join(spool, 'gateway'), { recursive: true })
  symlinkSync(target, join(spool, 'gateway', 'link'))
  chownSync(join(spool, 'gateway'), user.uid, user.gid)
  chownSync(spool, user.uid, user.gid)
  await takeBack(spool)
  t.same(stateOf(spool), [0, 0o700])
  t.equal(statSync(join(spool, 'gateway')).uid, 0)
  t.notOk(lstatSync(join(spool, 'gateway', 'link'), { throwIfNoEntry: false }))
  t.same(stateOf(target), [0, 0o755])
  await takeBack(join(dataDir, 'absent'))
})
