/** The connection to a Redis server, when that hangs. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import t from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'

t.test('a server that hangs is noticed although commands are written to it all the time', async (t) => {
  const server = await startRedisServer(t)
  const redis = connectRedis(`redis://${server.address}`, silentLog)
  t.teardown(() => redis.destroy())
  while (!redis.isReady) await sleep(20)
  server.signal('SIGSTOP')
  const startedAt = performance.now()
  const codes = new Set<Code>()
  const note = (error: unknown) => codes.add(toConnectError(error, true).code)
  while (redis.isReady && performance.now() - startedAt < 15_000) {
    redis.set('a', 'b').catch(note)
    await sleep(50)
  }
  t.notOk(redis.isReady, `noticed after ${Math.round(performance.now() - startedAt)} ms`)
  await redis.set('a', 'b').catch((error) => t.equal(toConnectError(error, true).code, Code.Unavailable))
  await sleep(0)
  t.same([...codes], [Code.DeadlineExceeded], 'what was written may have been done')
  server.signal('SIGCONT')
  while (!redis.isReady) await sleep(20)
  t.equal(await redis.ping(), 'PONG')
})
