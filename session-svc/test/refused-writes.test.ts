/** A real Redis that rejects writes: sessions are validated, creations and ends of sessions are 503. */

import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { watchReadiness } from '#common/ops/readiness.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { type RedisServer, startRedisCluster, startRedisServer } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { redisDependencies } from '../redis-probes.ts'
import { ageSession, storedSession } from './aged-session.ts'
import { newUser, rules, startSessionSvc } from './service.ts'
import { actions, single, startOn, statesOf } from './store-calls.ts'

/** Mounts a disk of 1 MB; returns undefined if this process is not permitted to. */
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
  throw new Error('the disk did not become full')
}

await fieldCase(
  t,
  6,
  'on a full disk, sessions are validated, writes are 503, and readiness shows MISCONF and the remedy',
  async (t) => {
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
  }
)

await fieldCase(t, 6, 'with full memory, sessions are validated and ended, and creations are 503', async (t) => {
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

await fieldCase(t, 6, 'without the required replicas, sessions are validated and creations are 503', async (t) => {
  const server = await startRedisServer(t)
  const { create, validate, tryCreate, states } = await startOn(t, server.address)
  const token = await create()
  await server.client.configSet('min-replicas-to-write', '1')
  t.same([await validate(token), await tryCreate()], ['session', 'Unavailable'])
  t.match(await states(), { redis: 'up', 'redis-writes': /NOREPLICAS .*: bring the replicas back/ })
})

await fieldCase(t, 6, 'a cluster that is down but allows reads validates sessions', async (t) => {
  const servers = await startRedisCluster(t)
  const nodes = servers.map(({ address }) => address)
  const service = await startSessionSvc(t, {}, silentLog, { ...single, topology: 'cluster', url: '', nodes })
  const { create, validate, tryCreate } = actions(service)
  const [first] = servers as [RedisServer]
  let token = await create()
  while (Number(await first.client.sendCommand(['DBSIZE'])) === 0) token = await create()
  for (const server of servers) {
    await server.client.configSet({ 'cluster-require-full-coverage': 'yes', 'cluster-allow-reads-when-down': 'yes' })
  }
  for (const server of servers.slice(1)) server.signal('SIGKILL')
  await until('the cluster is down', async () =>
    String(await first.client.sendCommand(['CLUSTER', 'INFO'])).includes('cluster_state:fail')
  )
  t.equal(await validate(token), 'session')
  t.equal(await tryCreate(), 'Unavailable')
  const { redis, 'redis-writes': writes } = await statesOf(service, 'cluster')()
  t.equal(redis, 'up')
  t.match(writes, /CLUSTERDOWN/)
})

t.test('a server that has become a replica serves no session, and the connection is replaced', async (t) => {
  const [server, master] = [await startRedisServer(t), await startRedisServer(t)]
  const { create, validate, tryCreate, states, store } = await startOn(t, server.address)
  const token = await create()
  await server.client.sendCommand(['REPLICAOF', '127.0.0.1', String(master.port)])
  t.equal(await validate(token), 'Unavailable', 'before any probe: its master may have ended the session')
  t.equal(await tryCreate(), 'Unavailable')
  const reconnected = new Promise((resolve) => store.servers()[0]?.once('ready', resolve))
  t.match(await states(), { redis: /READONLY .*must lead to the master/, 'redis-writes': /READONLY/ })
  await reconnected
  await server.client.sendCommand(['REPLICAOF', 'NO', 'ONE'])
  await until('it is a master again', async () => /session|invalid/.test(await validate(token)))
})

t.test('while Redis rejects writes, the service is ready and fails writes fast', async (t) => {
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

await fieldCase(t, 7, 'a session in use does not end by its idle timeout while uses cannot be written', async (t) => {
  const server = await startRedisServer(t)
  const service = await startOn(t, server.address)
  const { create, validate } = service
  const { idleTimeout } = rules
  // The scripts that write are called by EVALSHA, the script that reads by EVALSHA_RO.
  const permitUses = (permitted: boolean) =>
    server.client.sendCommand(['ACL', 'SETUSER', 'default', permitted ? '+evalsha' : '-evalsha'])
  const [used, unused] = [await create(), await create()]
  const age = (usedMs: number) =>
    Promise.all([used, unused].map((token) => ageSession(service, token, { createdMs: usedMs, usedMs })))
  await age(idleTimeout / 2)
  await permitUses(false)
  t.equal(await validate(used), 'session')
  await age(idleTimeout)
  t.equal(await validate(used), 'session', 'by the use that is not written')
  t.equal(await validate(unused), 'invalid')
  await permitUses(true)
  await until('the use is written', async () => {
    return (await storedSession(service, used)).lastSeenAt > Date.now() - idleTimeout / 2
  })
})
