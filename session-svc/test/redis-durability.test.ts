/** Readiness rejects configurations of Redis that could restore ended sessions, and users that lack permissions. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Code } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { toConnectError } from '#common/errors/driver-errors.ts'
import { reasonOf } from '#common/ops/probe.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { freePort } from '#common/testing/ports.ts'
import { silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { until } from '#common/testing/until.ts'
import { createDurabilityCheck, requireDurability } from '../redis-durability.ts'
import { redisDependencies } from '../redis-probes.ts'
import { openSessionStore } from '../session-store.ts'
import { isConnected, newUser, startSessionSvc } from './service.ts'

const port = await freePort()
const directory = mkdtempSync(join(tmpdir(), 'redis-'))
const server = spawn('redis-server', ['--port', String(port), '--dir', directory, '--save', '', '--appendonly', 'yes'])
const redis = connectRedis(`redis://127.0.0.1:${port}`, silentLog)
t.teardown(async () => {
  redis.destroy()
  server.kill('SIGKILL')
  // Until it has ended it may still write to the directory.
  await once(server, 'exit')
  rmSync(directory, { recursive: true, force: true })
})
await until('Redis is connected', () => redis.isReady)

const settings = { topology: 'single' as const, nodes: [], sentinelName: '', sentinelPassword: '', minReplicas: 0 }

t.test('an append-only file is durable, and no persistence is accepted', async () => {
  await requireDurability(redis)
  await redis.configSet('appendonly', 'no')
  await requireDurability(redis)
})

t.test('snapshots alone and eviction are rejected', async (t) => {
  await redis.configSet({ appendonly: 'no', save: '3600 1' })
  await t.rejects(requireDurability(redis), { message: /appendonly is no/ })
  await redis.configSet({ appendonly: 'yes', 'maxmemory-policy': 'allkeys-lru' })
  await t.rejects(requireDurability(redis), { message: /noeviction/ })
})

t.test('settings that change while Redis runs are rejected within ten seconds', async (t) => {
  await redis.configSet({ appendonly: 'yes', save: '', 'maxmemory-policy': 'noeviction' })
  const clock = createTestClock()
  const durability = createDurabilityCheck('check', clock)
  const changes = [
    [{ 'maxmemory-policy': 'allkeys-lru' }, { 'maxmemory-policy': 'noeviction' }, /noeviction/],
    [{ appendonly: 'no' }, { appendonly: 'yes' }, /appendonly was turned off/]
  ] as const
  for (const [change, repair, message] of changes) {
    await durability.require(redis)
    await redis.configSet(change)
    await durability.require(redis)
    await clock.advance(10_000)
    await t.rejects(durability.require(redis), { message })
    await t.rejects(durability.require(redis), { message }, 'the next probe rejects them, too')
    await redis.configSet(repair)
    await durability.require(redis)
  }
  await redis.configSet({ appendonly: 'no' })
  durability.forget(redis)
  await durability.require(redis)
})

/** A connection as a new user with these permissions. */
async function connectAs(t: Test, ...permissions: string[]) {
  const name = `user${++users}`
  await redis.sendCommand(['ACL', 'SETUSER', name, 'on', '>hunter2', ...permissions])
  const client = connectRedis(`redis://${name}:hunter2@127.0.0.1:${port}`, silentLog)
  t.teardown(() => client.destroy())
  await until('the user is connected', () => client.isReady)
  return client
}
let users = 0

fieldCase(t, 12, 'without INFO and CONFIG, readiness names the command, the remedy and the setting', async (t) => {
  await redis.configSet({ appendonly: 'no', save: '', 'maxmemory-policy': 'noeviction' })
  const blind = await connectAs(t, '+@all', '-info', '-config', '~*')
  const reason = await requireDurability(blind).then(() => '', reasonOf)
  t.match(reason, /durability cannot be checked.*NOPERM.*'?info.*ACL SETUSER.*redis\.durability/)
  const half = await connectAs(t, '+@all', '-config', '~*')
  t.match(await requireDurability(half).then(() => '', reasonOf), /NOPERM.*config/)
  await createDurabilityCheck('assured').require(blind)
})

fieldCase(t, 12, 'readiness shows the error of Redis and the remedy, without a secret', async (t) => {
  const reasons = {
    'redis://default:wrong@': /^answers "WRONGPASS .*": check the user and the password in redis.url$/,
    'redis://nobody:hunter2@': /^answers "WRONGPASS /,
    'redis://': /^answers "NOAUTH .*": redis.url needs a password$/
  }
  await redis.sendCommand(['ACL', 'SETUSER', 'default', '>hunter2', 'resetpass', '>hunter2'])
  for (const [start, reason] of Object.entries(reasons)) {
    const store = openSessionStore({ ...settings, url: `${start}127.0.0.1:${port}` }, { log: silentLog })
    t.teardown(store.close)
    // Redis rejects the connections for reads and for writes separately.
    for (const { probe } of redisDependencies(store, 'single', async () => {})) {
      let shown = ''
      await until('the reason is known', async () => {
        shown = await probe().then(() => 'up', reasonOf)
        return shown !== 'cannot be reached'
      })
      t.match(shown, reason)
      t.notMatch(shown, /hunter2|wrong|127/)
    }
  }
  await redis.sendCommand(['ACL', 'SETUSER', 'default', 'nopass'])
})

fieldCase(t, 12, 'without permission for a read, readiness shows it and calls are 503', async (t) => {
  const lacks = {
    '-hget': /(NOPERM|can't run this command|no permissions to run).*grant/,
    '-evalsha_ro': /NOPERM/,
    '~x:*': /NOPERM|key/
  }
  for (const [permission, reason] of Object.entries(lacks)) {
    const name = `user${++users}`
    const keys = permission.startsWith('~') ? [permission] : ['~*', permission]
    await redis.sendCommand(['ACL', 'SETUSER', name, 'on', '>hunter2', '+@all', ...keys])
    const store = openSessionStore(
      { ...settings, url: `redis://${name}:hunter2@127.0.0.1:${port}` },
      { log: silentLog }
    )
    t.teardown(store.close)
    await until('the user is connected', () => isConnected(store))
    const [reads] = redisDependencies(store, 'single', async () => {})
    const refusal = await reads?.probe().catch((error: unknown) => error)
    t.match(reasonOf(refusal), reason)
    t.equal(toConnectError(refusal, true).code, Code.Unavailable)
  }
})

fieldCase(t, 12, 'without permission for a write, readiness shows it and sessions are validated', async (t) => {
  const lacks = {
    '-hset': 'answers "NOPERM this user has no permissions to run the \'hset\' command"',
    '-pexpire': 'answers "NOPERM this user has no permissions to run the \'pexpire\' command"',
    '-hdel': 'answers "NOPERM this user has no permissions to run the \'hdel\' command"',
    '-@write': 'answers "NOPERM this user has no permissions to run the \'set\' command"',
    '-evalsha': 'answers "NOPERM this user has no permissions to run the \'evalsha\' command"',
    'resetkeys %R~* %W~s:*': 'answers "NOPERM this user has no permissions to access one of the keys'
  }
  for (const [permission, reason] of Object.entries(lacks)) {
    const name = `user${++users}`
    const permissions = ['on', '>hunter2', '+@all', '~*', ...permission.split(' ')]
    await redis.sendCommand(['ACL', 'SETUSER', name, ...permissions])
    const store = openSessionStore(
      { ...settings, url: `redis://${name}:hunter2@127.0.0.1:${port}` },
      { log: silentLog }
    )
    t.teardown(store.close)
    await until('the user is connected', () => isConnected(store) && isConnected(store.writes))
    const [reads, writes] = redisDependencies(store, 'single', async () => {})
    const shown = await writes?.probe().then(() => 'up', reasonOf)
    t.ok(shown?.startsWith(reason), `${permission}: ${shown}`)
    t.match(shown, /grant this to the product's user/)
    if (!permission.startsWith('resetkeys')) t.equal(await reads?.probe().then(() => 'up', reasonOf), 'up', permission)
  }
})

t.test('the permissions in docs/operate/deploy.md suffice', async (t) => {
  const page = readFileSync(new URL('../../docs/operate/deploy.md', import.meta.url), 'utf8')
  const [, listed = ''] = /^\| `session-svc` \| `(~[^`]+)` \|$/m.exec(page.replaceAll('\\|', '|')) ?? []
  const name = `user${++users}`
  await redis.sendCommand(['ACL', 'SETUSER', name, 'reset', 'on', '>hunter2', ...listed.trim().split(' ')])
  const url = `redis://${name}:hunter2@127.0.0.1:${port}`
  const { client, store } = await startSessionSvc(t, {}, silentLog, { ...settings, url })
  const dependencies = redisDependencies(store, 'single', createDurabilityCheck('check').require)
  for (const { name, probe } of dependencies) t.equal(await probe().then(() => 'up', reasonOf), 'up', name)
  const userId = newUser()
  const { token } = await client.createSession({ userId })
  t.equal((await client.validateSession({ token })).result.case, 'session')
  t.equal((await client.listSessions({ userId })).sessions.length, 1)
  await client.deleteSession({ target: { case: 'token', value: token } })
  await client.deleteUserSessions({ userId, epoch: 1n })
})
