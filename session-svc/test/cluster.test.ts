/** Sessions on a real Redis Cluster of three masters: all tests of one server, and masters that fail and recover. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { slotOf } from '#common/redis/hash-slot.ts'
import { openRedis } from '#common/redis/store.ts'
import { uuidBytes } from '#common/session/session-token.ts'
import { type RedisServer, startRedisCluster } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { probeMasters, probeRedis } from '../server-probes.ts'
import { newUser, redisUnderTest, startSessionSvc } from './service.ts'

const servers = (await startRedisCluster(t)) as [RedisServer, RedisServer, RedisServer]
process.env.TEST_REDIS_CLUSTER = servers.map(({ address }) => address).join(',')

// All tests of one server. They come before the tests of this file, because tap ends a file that has no test left to run,
// even if the file still awaits something.
await Promise.all([import('./sessions.test.ts'), import('./session-limits.test.ts'), import('./races.test.ts')])

const slotOfUser = (userId: string) => slotOf(`{${uuidBytes(userId).toString('base64url')}}`)
const ownerOf = (userId: string) => Math.floor((slotOfUser(userId) * 3) / 16_384)

/** A user of each server, with a session. */
async function userOfEach({ client }: Awaited<ReturnType<typeof startSessionSvc>>) {
  const users: { userId: string; token: string }[] = []
  while (Object.keys(users).length < 3) {
    const userId = newUser()
    users[ownerOf(userId)] ??= { userId, token: (await client.createSession({ userId })).token }
  }
  return users as [(typeof users)[0], (typeof users)[0], (typeof users)[0]]
}

const ping = (server: { ping(): Promise<unknown> }) => server.ping()

const outcomeOf = (call: Promise<{ result?: { case: string | undefined } }>) =>
  call.then(
    ({ result }) => result?.case ?? 'ok',
    (error) => Code[ConnectError.from(error).code]
  )

t.test('slotOf computes the slot that Redis does', async (t) => {
  for (const key of ['', 'a', '123456789', 's:{user}:x', '{}x{y}', 'a{b', '{ü}{x}', 'e:{AZrDq3dn-R}', '{{a}}']) {
    t.equal(slotOf(key), await servers[0].client.sendCommand(['CLUSTER', 'KEYSLOT', key]), key)
  }
})

t.test('no session is invalid while its slot moves to another server', async (t) => {
  const service = await startSessionSvc(t)
  const { client } = service
  const [{ userId, token }] = await userOfEach(service)
  const validate = () => outcomeOf(client.validateSession({ token }))
  const slot = String(slotOfUser(userId))
  const [from, to] = servers
  const ids = await Promise.all([from, to].map((server) => server.client.sendCommand(['CLUSTER', 'MYID'])))
  const setSlot = (server: RedisServer, ...how: string[]) =>
    server.client.sendCommand(['CLUSTER', 'SETSLOT', slot, ...how])
  await setSlot(to, 'IMPORTING', String(ids[0]))
  await setSlot(from, 'MIGRATING', String(ids[1]))
  t.not(await validate(), 'invalid', 'before its keys have moved')
  const keys = (await from.client.sendCommand(['CLUSTER', 'GETKEYSINSLOT', slot, '10'])) as string[]
  t.ok(keys.length > 0)
  await from.client.sendCommand(['MIGRATE', '127.0.0.1', String(to.port), '', '0', '5000', 'KEYS', ...keys])
  t.not(await validate(), 'invalid', 'after its keys have moved (ASK, TRYAGAIN)')
  for (const server of [to, from]) await setSlot(server, 'NODE', String(ids[1]))
  t.equal(await validate(), 'session', 'after the slot has moved (MOVED)')
  await client.deleteSession({ target: { case: 'token', value: token } })
  t.equal(await validate(), 'invalid')
  for (const server of [from, to]) await setSlot(server, 'NODE', String(ids[0]))
})

t.test(
  'while a master is down, its users get 503 and other users are served; after its return all are served',
  async (t) => {
    const service = await startSessionSvc(t)
    const { client, store } = service
    const [lost, ...others] = await userOfEach(service)
    servers[0].signal('SIGKILL')
    const seen = new Set<string | undefined>()
    await until('the other masters know that it is down', async () => {
      seen.add(await outcomeOf(client.validateSession({ token: lost.token })))
      for (const { token } of others) t.equal(await outcomeOf(client.validateSession({ token })), 'session')
      return String(await servers[1].client.sendCommand(['CLUSTER', 'NODES'])).includes('master,fail ')
    })
    t.same([...seen], ['Unavailable'], 'never invalid, and never a timeout')
    t.equal(
      await outcomeOf(client.deleteSession({ target: { case: 'token', value: lost.token } }) as never),
      'Unavailable'
    )
    await probeRedis(store, ping)
    await t.rejects(probeMasters(store, ping), { message: '1 of 3 masters cannot be reached' })

    const late = openRedis(redisUnderTest(), { log: silentLog })
    t.teardown(late.close)
    await until('a service that starts now is ready', async () => late.redis.isReady)
    const replies = await Promise.allSettled(
      ['{a}', '{b}', '{c}', '{d}', '{e}', '{f}'].map((key) => late.redis.hKeys(key))
    )
    t.ok(replies.some(({ status }) => status === 'fulfilled'))

    await servers[0].start()
    await until('its users are served', async () => {
      return (await outcomeOf(client.validateSession({ token: lost.token }))) === 'session'
    })
    await until('all masters are connected', () =>
      probeMasters(store, ping).then(
        () => true,
        () => false
      )
    )
  }
)

t.test('an unresponsive master delays only its own users, until it is known to be down', async (t) => {
  const service = await startSessionSvc(t)
  const { client, store } = service
  const [first, frozen, last] = await userOfEach(service)
  servers[1].signal('SIGSTOP')
  t.teardown(() => servers[1].signal('SIGCONT'))
  const validate = (token: string, timeoutMs = 500) => outcomeOf(client.validateSession({ token }, { timeoutMs }))
  await until('it is known to be down', async () => {
    const [outcome, other] = await Promise.all([validate(frozen.token), validate(first.token, 5000)])
    t.equal(other, 'session')
    t.match(outcome, /^(Unavailable|DeadlineExceeded)$/)
    const { results } = await client.validateSessions({ tokens: [first, frozen, last].map((each) => each.token) })
    t.same(
      results.map(({ result }) => result.case),
      ['session', undefined, 'session']
    )
    await probeRedis(store, ping)
    return outcome === 'Unavailable'
  })
  servers[1].signal('SIGCONT')
  await until('its user is served', async () => (await validate(frozen.token)) === 'session')
})
