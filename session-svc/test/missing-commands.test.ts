/** A real Redis that lacks commands or has the keys of another program, and a cluster that is down: readiness shows the reason. */

import t from 'tap'
import { startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { openSessionStore } from '../session-store.ts'
import { single, startOn, statesOf } from './store-calls.ts'

t.test('readiness names a command that the server lacks', async (t) => {
  const writes = await startRedisServer(t, ['rename-command HDEL ""'])
  const lacksHdel = await startOn(t, writes.address)
  const { redis, 'redis-writes': reason } = await lacksHdel.states()
  t.equal(redis, 'up')
  t.match(reason, /^answers "ERR unknown command 'hdel": allow the command/)
  const reads = await startRedisServer(t, ['rename-command TIME ""'])
  const lacksTime = await startOn(t, reads.address)
  t.match((await lacksTime.states()).redis, /^answers "ERR Unknown Redis command called from script": allow TIME/)
})

t.test('without INFO on the server, sessions are created, validated and ended', async (t) => {
  const server = await startRedisServer(t, ['rename-command INFO ""', 'rename-command CONFIG ""'])
  const { create, validate, tryEnd, states } = await startOn(t, server.address)
  t.match(await states(), { redis: 'up', 'redis-writes': 'up' })
  const token = await create()
  t.equal(await validate(token), 'session')
  t.equal(await tryEnd(token), 'done')
  t.equal(await validate(token), 'invalid')
})

t.test("if another program has overwritten a user's key, calls for the user are 503", async (t) => {
  const server = await startRedisServer(t)
  const { create, validate, tryEnd } = await startOn(t, server.address)
  const token = await create()
  const [key] = (await server.client.keys('s:*')) as [string]
  await server.client.set(key, 'of another program')
  t.equal(await validate(token), 'Unavailable')
  t.equal(await tryEnd(token), 'Unavailable')
})

t.test('readiness shows why no node of a cluster can be reached', async (t) => {
  const store = openSessionStore(
    { ...single, topology: 'cluster', nodes: ['127.0.0.1:1'], url: '' },
    { log: silentLog }
  )
  t.teardown(store.close)
  const states = statesOf({ store }, 'cluster')
  await until('the failure is known', async () =>
    /^cannot be reached \(\w+/.test((await states())['redis-masters'] ?? '')
  )
})
