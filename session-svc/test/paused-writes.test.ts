/** A real Redis that delays all writes (`CLIENT PAUSE`), in each topology: sessions are validated meanwhile. */

import t, { type Test } from 'tap'
import { createLogger } from '#common/logging/logger.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import {
  type RedisServer,
  startRedisCluster,
  startRedisServer,
  startRedisWithSentinels
} from '#common/testing/redis.ts'
import { until } from '#common/testing/until.ts'
import { ageSession } from './aged-session.ts'
import { startSessionSvc } from './service.ts'
import { actions, type Service, single, startOn, statesOf } from './store-calls.ts'

/** A log, and whether it has the line about uses that could not be written. */
function useLog() {
  let hasFailed = false
  const write = (line: string) => {
    hasFailed ||= line.includes('session_touch_failed')
  }
  return { log: createLogger('session-svc', 'info', { write }), hasFailed: () => hasFailed }
}

/** Asserts that sessions are validated while each server pauses writes, at least until the write of a use has timed out. */
async function validatesThroughPause(
  t: Test,
  service: Service,
  { topology, servers, hasFailed }: { topology: string; servers: RedisServer[]; hasFailed: () => boolean }
) {
  const { create, validate, tryCreate } = actions(service)
  const tokens = await Promise.all(Array.from({ length: 5 }, () => create()))
  // After a tenth of the idle timeout, each validation records a use.
  for (const token of tokens) await ageSession(service, token, { createdMs: 30_000, usedMs: 30_000 })
  for (const { client } of servers) await client.sendCommand(['CLIENT', 'PAUSE', '60000', 'WRITE'])
  const delayed = tryCreate()
  const seen = new Set<string>()
  await until('the write of a use has timed out', async () => {
    for (const token of tokens) seen.add(await validate(token))
    return hasFailed()
  })
  t.same([...seen], ['session'])
  const states = statesOf(service, topology)
  const shown: string[] = []
  await until('readiness has shown the pause in three probes', async () => {
    const { redis, 'redis-writes': writes = '' } = await states()
    t.equal(redis, 'up')
    shown.push(writes)
    return shown.filter((reason) => /^does not respond to writes .CLIENT PAUSE/.test(reason)).length === 3
  })
  t.notOk(
    shown.includes('cannot be reached'),
    'the server is known all the time, also while its connection is replaced'
  )
  // Over another connection: a delayed write delays all later commands of its connection.
  for (const { client } of servers) await client.sendCommand(['CLIENT', 'UNPAUSE'])
  t.match(await delayed, /done|DeadlineExceeded/)
  await until('writes are accepted', async () => (await tryCreate()) === 'done')
}

await fieldCase(
  t,
  7,
  'while writes are paused, sessions are validated although their uses cannot be written',
  async (t) => {
    const server = await startRedisServer(t)
    const { log, hasFailed } = useLog()
    const service = await startOn(t, server.address, {}, log)
    await validatesThroughPause(t, service, { topology: 'single', servers: [server], hasFailed })
  }
)

await fieldCase(t, 7, 'while a cluster pauses writes, sessions are validated', async (t) => {
  const servers = await startRedisCluster(t)
  const config = { ...single, topology: 'cluster' as const, url: '', nodes: servers.map(({ address }) => address) }
  const { log, hasFailed } = useLog()
  const service = await startSessionSvc(t, {}, log, config)
  await validatesThroughPause(t, service, { topology: 'cluster', servers, hasFailed })
})

await fieldCase(t, 7, 'while a master behind Sentinels pauses replicated writes, sessions are validated', async (t) => {
  const { master, sentinels } = await startRedisWithSentinels(t)
  const nodes = sentinels.map(({ address }) => address)
  // A pause delays the Sentinels' own writes too: they would replace the master after a second.
  for (const { client } of sentinels) {
    await client.sendCommand(['SENTINEL', 'SET', 'main', 'down-after-milliseconds', '60000'])
  }
  const config = { ...single, topology: 'sentinel' as const, url: '', nodes, sentinelName: 'main', minReplicas: 1 }
  const { log, hasFailed } = useLog()
  const service = await startSessionSvc(t, {}, log, config)
  await until('writes are accepted', async () => (await actions(service).tryCreate()) === 'done')
  await validatesThroughPause(t, service, { topology: 'sentinel', servers: [master], hasFailed })
})
