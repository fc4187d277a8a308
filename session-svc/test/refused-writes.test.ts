/** A real Redis that answers a part of the commands: validations continue, creations and ends of sessions are 503. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { watchReadiness } from '#common/ops/readiness.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import {
  type RedisServer,
  startRedisCluster,
  startRedisServer,
  startRedisWithSentinels
} from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { redisDependencies } from '../redis-probes.ts'
import { newUser, startSessionSvc } from './service.ts'
import { actions, type Service, single, startOn, statesOf } from './store-calls.ts'

/** A disk of its own, or nothing if this process may not have one. */
function mountDisk(t: Test): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'redis-disk-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { stdio: 'ignore' })
  } catch {
    rmSync(path, { recursive: true })
    return undefined
  }
  t.teardown(() => {
    execFileSync('umount', ['-l', path])
    rmSync(path, { recursive: true })
  })
  return path
}

async function fill({ client }: RedisServer): Promise<void> {
  for (let count = 0; count < 5000; count += 1) {
    const refused = await client.set(`x${count}`, 'x'.repeat(10_000)).then(
      () => false,
      () => true
    )
    if (refused) return
  }
  throw new Error('the disk is never full')
}

await fieldCase(t, 6, 'validations are 200, writes 503, and readiness names MISCONF and the remedy', async (t) => {
  const disk = mountDisk(t)
  if (disk === undefined) return void t.pass('a full disk', { skip: 'mounting a small disk takes root' })
  const server = await startRedisServer(t, [`dir ${disk}`, 'auto-aof-rewrite-percentage 0'])
  const { create, validate, tryCreate, tryEnd, tryRevoke, states } = await startOn(t, server.address)
  const userId = newUser()
  const token = await create(userId)
  t.same(await states(), { redis: 'up', 'redis-writes': 'up' })
  await fill(server)
  await until('Redis refuses writes', async () => (await tryCreate()) === 'Unavailable')
  t.equal(await validate(token), 'session')
  t.same([await tryEnd(token), await tryRevoke(userId)], ['Unavailable', 'Unavailable'])
  const { redis, 'redis-writes': writes } = await states()
  t.equal(redis, 'up')
  t.match(writes, /^answers "MISCONF .*No space left.*": give Redis a disk/)
  t.equal(await validate(token), 'session')
})

await fieldCase(t, 6, 'with its memory full, Redis still ends sessions, and validates them', async (t) => {
  const server = await startRedisServer(t)
  const { create, validate, tryCreate, tryEnd, tryRevoke, states } = await startOn(t, server.address)
  const userId = newUser()
  const [token, other] = [await create(userId), await create()]
  await server.client.configSet('maxmemory', '1')
  t.equal(await validate(token), 'session')
  t.equal(await tryCreate(), 'Unavailable')
  const { redis, 'redis-writes': writes } = await states()
  t.equal(redis, 'up')
  t.match(writes, /^answers "OOM .*": raise maxmemory/)
  t.same([await tryEnd(other), await tryRevoke(userId)], ['done', 'done'])
  t.same([await validate(token), await validate(other)], ['invalid', 'invalid'])
})

await fieldCase(t, 6, 'without the replicas that Redis demands, sessions are validated', async (t) => {
  const server = await startRedisServer(t)
  const { create, validate, tryCreate, states } = await startOn(t, server.address)
  const token = await create()
  await server.client.configSet('min-replicas-to-write', '1')
  t.same([await validate(token), await tryCreate()], ['session', 'Unavailable'])
  t.match(await states(), { redis: 'up', 'redis-writes': /NOREPLICAS .*: bring the replicas back/ })
})

await fieldCase(t, 6, 'a cluster that is down and allows reads validates sessions', async (t) => {
  const servers = await startRedisCluster(t)
  const nodes = servers.map(({ address }) => address)
  const service = await startSessionSvc(t, {}, silentLog, { ...single, topology: 'cluster', url: '', nodes })
  const { create, validate, tryCreate } = actions(service)
  const [first] = servers as [RedisServer]
  let token = await create()
  while (Number(await first.client.sendCommand(['DBSIZE'])) === 0) token = await create()
  const isMine = async () => (await validate(token)) === 'session'
  for (const server of servers) {
    await server.client.configSet({ 'cluster-require-full-coverage': 'yes', 'cluster-allow-reads-when-down': 'yes' })
  }
  for (const server of servers.slice(1)) server.signal('SIGKILL')
  await until('the cluster is down', async () =>
    String(await first.client.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:fail')
  )
  t.ok(await isMine())
  t.equal(await tryCreate(), 'Unavailable')
  const { redis, 'redis-writes': writes } = await statesOf(service, 'cluster')()
  t.equal(redis, 'up')
  t.match(writes, /CLUSTERDOWN/)
})

t.test(
  'a server that has become a replica shows no session, and is left for the one that its name leads to',
  async (t) => {
    const [server, master] = [await startRedisServer(t), await startRedisServer(t)]
    const { create, validate, tryCreate, states, store } = await startOn(t, server.address)
    const token = await create()
    await server.client.sendCommand(['REPLICAOF', '127.0.0.1', String(master.port)])
    t.equal(await validate(token), 'Unavailable', 'without a probe: its master may have ended the session')
    t.equal(await tryCreate(), 'Unavailable')
    const reconnected = new Promise((resolve) => store.servers()[0]?.once('ready', resolve))
    t.match(await states(), { redis: /READONLY .*must lead to the master/, 'redis-writes': /READONLY/ })
    await reconnected
    await server.client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
    await until('it is a master again', async () => /session|invalid/.test(await validate(token)))
  }
)

t.test('readiness: the service is ready while writes are refused, and refuses them at once', async (t) => {
  const server = await startRedisServer(t)
  const { store } = await startOn(t, server.address)
  const readiness = watchReadiness(
    redisDependencies(store, 'single', async () => {}),
    silentLog,
    new Registry()
  )
  t.teardown(readiness.stop)
  await until('all is up', async () => readiness.states().every(({ up }) => up))
  await server.client.configSet('min-replicas-to-write', '1')
  await until('writes are down', async () => readiness.states().some(({ name, up }) => name === 'redis-writes' && !up))
  t.ok(readiness.ready())
  readiness.requireUp('redis')
  t.throws(() => readiness.requireUp('redis-writes'))
  await server.client.configSet('min-replicas-to-write', '0')
  await until('writes are up', async () => readiness.states().every(({ up }) => up))
})

/** Validations answer all the time while each server delays writes, one of which waits on the service's connection. */
async function validatesThroughPause(t: Test, service: Service, topology: string, servers: RedisServer[]) {
  const { create, validate, tryCreate } = actions(service)
  const tokens = await Promise.all(Array.from({ length: 5 }, () => create()))
  for (const { client } of servers) await client.sendCommand(['CLIENT', 'PAUSE', '60000', 'WRITE'])
  const delayed = tryCreate()
  const seen = new Set<string>()
  const endsAt = performance.now() + 1500
  while (performance.now() < endsAt) for (const token of tokens) seen.add(await validate(token))
  t.same([...seen], ['session'])
  t.match(await statesOf(service, topology)(), {
    redis: 'up',
    'redis-writes': /^does not respond to writes .CLIENT PAUSE/
  })
  // By a connection of its own: a delayed write holds up its connection.
  for (const { client } of servers) await client.sendCommand(['CLIENT', 'UNPAUSE'])
  t.match(await delayed, /done|DeadlineExceeded/)
  await until('writes are answered', async () => (await tryCreate()) === 'done')
}

// An idle timeout of which a tenth has passed: each validation records a use.
const rules = { idleTimeout: 10_000 }

await fieldCase(t, 7, 'validations are 200 all the time, although their uses cannot be written', async (t) => {
  const server = await startRedisServer(t)
  const service = await startOn(t, server.address, rules)
  await validatesThroughPause(t, service, 'single', [server])
})

await fieldCase(t, 7, 'the same on a cluster', async (t) => {
  const servers = await startRedisCluster(t)
  const config = { ...single, topology: 'cluster' as const, url: '', nodes: servers.map(({ address }) => address) }
  await validatesThroughPause(t, await startSessionSvc(t, rules, silentLog, config), 'cluster', servers)
})

await fieldCase(t, 7, 'the same behind Sentinels, with writes that wait for a replica', async (t) => {
  const { master, sentinels } = await startRedisWithSentinels(t)
  const nodes = sentinels.map(({ address }) => address)
  const config = { ...single, topology: 'sentinel' as const, url: '', nodes, sentinelName: 'main', minReplicas: 1 }
  const service = await startSessionSvc(t, rules, silentLog, config)
  await until('writes are answered', async () => (await actions(service).tryCreate()) === 'done')
  await validatesThroughPause(t, service, 'sentinel', [master])
})

await fieldCase(t, 7, 'a session in use does not end by its idle timeout while uses cannot be written', async (t) => {
  const server = await startRedisServer(t)
  const { create, validate } = await startOn(t, server.address, { idleTimeout: 1000 })
  const [used, unused] = [await create(), await create()]
  await server.client.configSet('min-replicas-to-write', '1')
  const endsAt = performance.now() + 1500
  while (performance.now() < endsAt) {
    t.equal(await validate(used), 'session')
    await sleep(50)
  }
  t.equal(await validate(unused), 'invalid')
  await server.client.configSet('min-replicas-to-write', '0')
  const values = async () =>
    (await Promise.all((await server.client.keys('s:*')).map((each) => server.client.hVals(each)))).flat()
  await until('the use is written', async () =>
    (await values()).some((value) => {
      const [, created, seen] = value.split(' ').map(Number) as [number, number, number]
      return seen - created > 1000
    })
  )
})
