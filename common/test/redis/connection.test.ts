/** The connection to an unresponsive Redis server. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code } from '@connectrpc/connect'
import t from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'

t.test('an unresponsive server is detected while commands are written to it', async (t) => {
  const server = await startRedisServer(t)
  const redis = connectRedis(`redis://${server.address}`, silentLog)
  t.teardown(() => redis.destroy())
  await until('the connection is ready', () => redis.isReady)
  server.signal('SIGSTOP')
  const codes = new Set<Code>()
  const note = (error: unknown) => codes.add(toConnectError(error, true).code)
  const detectedMs = await until('the connection is given up', () => {
    if (!redis.isReady) return true
    redis.set('a', 'b').catch(note)
    return false
  })
  t.comment(`detected after ${Math.round(detectedMs)} ms`)
  await redis.set('a', 'b').catch((error) => t.equal(toConnectError(error, true).code, Code.Unavailable))
  await nextTurn()
  t.same([...codes], [Code.DeadlineExceeded], 'the outcome of written commands is unknown')
  server.signal('SIGCONT')
  await until('the connection is ready again', () => redis.isReady)
  t.equal(await redis.ping(), 'PONG')
})
