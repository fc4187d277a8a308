/** Data of another user stop the start with the command that takes them over. */

import { chownSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { requireOwnData } from '../data-owner.ts'

t.test('only the owner of the data and root start on them', async (t) => {
  const dataDir = t.testdir({ 'rpc-token': 'x', spool: {} })
  const uid = process.getuid?.() ?? 0
  requireOwnData(dataDir, uid)
  requireOwnData(dataDir, 0)
  t.throws(() => requireOwnData(dataDir, uid + 1), {
    message: `stack.dataDir: ${dataDir} belongs to another user, as after a start as root; run sudo chown -R "$(id -un)" ${dataDir}`
  })
})

t.test(
  'files below a directory of one’s own count, except those of containers',
  { skip: process.getuid?.() !== 0 },
  async (t) => {
    const dataDir = t.testdir({ 'rpc-token': 'x', docker: { redis: {} } })
    const other = 65_533
    for (const path of [dataDir, join(dataDir, 'rpc-token')]) chownSync(path, other, other)
    requireOwnData(dataDir, other)
    chownSync(join(dataDir, 'rpc-token'), 0, 0)
    t.throws(() => requireOwnData(dataDir, other), { message: /rpc-token belongs to another user/ })
  }
)
