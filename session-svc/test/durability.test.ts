/** Which configurations of Redis could bring ended sessions back, told by the real server. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { connectRedis } from '#common/redis.ts'
import { silentLog } from '#common/testing.ts'
import { requireDurability } from '../durability.ts'

const port = await new Promise<number>((resolve) => {
  const server = createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address() as { port: number }
    server.close(() => resolve(port))
  })
})
const directory = mkdtempSync(join(tmpdir(), 'redis-'))
const server = spawn('redis-server', ['--port', String(port), '--dir', directory, '--save', '', '--appendonly', 'yes'])
const redis = connectRedis(`redis://127.0.0.1:${port}`, silentLog)
t.teardown(async () => {
  redis.destroy()
  server.kill('SIGKILL')
  // Until it is gone it may still write into the directory.
  await once(server, 'exit')
  rmSync(directory, { recursive: true, force: true })
})
while (!redis.isReady) await sleep(20)

t.test('an append-only file is safe, and so is no persistence at all', async () => {
  await requireDurability(redis)
  await redis.configSet('appendonly', 'no')
  await requireDurability(redis)
})

t.test('snapshots alone are not, and neither is eviction', async (t) => {
  await redis.configSet({ appendonly: 'no', save: '3600 1' })
  await t.rejects(requireDurability(redis), { message: /appendonly is no/ })
  await redis.configSet({ appendonly: 'yes', 'maxmemory-policy': 'allkeys-lru' })
  await t.rejects(requireDurability(redis), { message: /noeviction/ })
})
