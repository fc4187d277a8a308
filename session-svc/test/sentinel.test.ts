/** Sessions on a real Redis that Sentinels guard: over a failover nothing that has ended comes back, and nobody has to help. */

import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { probeRedis } from '#common/redis/probe.ts'
import { startRedisWithSentinels } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { newUser, startSessionSvc } from './service.ts'

const { master, replica, sentinels } = await startRedisWithSentinels(t)
const redis = {
  topology: 'sentinel' as const,
  url: '',
  nodes: sentinels.map(({ address }) => address),
  sentinelName: 'main',
  sentinelPassword: '',
  minReplicas: 1
}
const { client, store } = await startSessionSvc(t, {}, silentLog, redis)

const ping = (server: { ping(): Promise<unknown> }) => server.ping()

const outcomeOf = (token: string) =>
  client.validateSession({ token }, { timeoutMs: 1000 }).then(
    ({ result }) => String(result.case),
    (error) => Code[ConnectError.from(error).code]
  )
const end = (token: string) => client.deleteSession({ target: { case: 'token', value: token } }, { timeoutMs: 2000 })

const succeeds = (call: Promise<unknown>) =>
  call.then(
    () => true,
    () => false
  )
const untilWritable = () => until('writes are answered', () => succeeds(client.createSession({ userId: newUser() })))

/** A session that replicas have; on a busy machine the first attempts may be late. */
async function createSession(userId = newUser()): Promise<string> {
  let token = ''
  await until('a session is created', () =>
    succeeds(
      client.createSession({ userId }).then((created) => {
        token = created.token
      })
    )
  )
  return token
}

await untilWritable()

t.test('the master is killed: what has ended stays so, what has not goes on', async (t) => {
  await untilWritable()
  const userId = newUser()
  const tokens = await Promise.all(Array.from({ length: 40 }, () => createSession()))
  const [live, ended] = [tokens.slice(0, 20), tokens.slice(20)]
  const revoked = await createSession(userId)
  for (const token of ended) await until('it has ended', () => succeeds(end(token)))
  await until('all have ended', () => succeeds(client.deleteUserSessions({ userId, epoch: 1n })))
  master.signal('SIGKILL')
  const seen = new Set<string | undefined>()
  const outageMs = await until('sessions validate again', async () => {
    const outcome = await outcomeOf(live[0] as string)
    seen.add(outcome)
    return outcome === 'session'
  })
  t.comment(`${outageMs} ms after the master was killed, of which Sentinel waits 1000 before it does anything`)
  t.ok(outageMs < 15_000)
  t.notOk(seen.has('invalid'), [...seen].join(' '))
  t.same(new Set(await Promise.all(live.map(outcomeOf))), new Set(['session']))
  t.same(new Set(await Promise.all([...ended, revoked].map(outcomeOf))), new Set(['invalid']))
  await probeRedis(store, ping)

  const unsure = await end(live[1] as string).catch(ConnectError.from)
  t.match(unsure, { code: Code.DeadlineExceeded }, 'no replica has it')
  await master.start()
  await untilWritable()
  t.match(String(await replica.client.info('replication')), /connected_slaves:1/)
  t.equal(await outcomeOf(live[1] as string), 'invalid')
})

t.test('a master that hangs is replaced, and is none when it wakes up', async (t) => {
  const [token, other] = [await createSession(), await createSession()]
  replica.signal('SIGSTOP')
  await sleep(200)
  const outageMs = await until('sessions validate again', async () => (await outcomeOf(token)) === 'session')
  t.comment(`${outageMs} ms`)
  replica.signal('SIGCONT')
  await until('it is a replica, so that writes are answered', () => succeeds(end(token)))
  t.equal(await outcomeOf(token), 'invalid')
  t.equal(await outcomeOf(other), 'session')
})

// The last one: Sentinels that were stopped take half a minute before they act again.
t.test('a master that most Sentinels do not name is not used: elsewhere there may be another one', async (t) => {
  const token = await createSession()
  sentinels[0]?.signal('SIGSTOP')
  await sleep(1000)
  t.equal(await outcomeOf(token), 'session', 'one may be away')
  sentinels[1]?.signal('SIGSTOP')
  await until('it is refused', async () => (await outcomeOf(token)) === 'Unavailable')
  // The reason can be that of a Sentinel whose socket has timed out.
  await t.rejects(probeRedis(store, ping), { message: /^cannot be reached$|timeout/ })
  for (const sentinel of sentinels) sentinel.signal('SIGCONT')
  await until('it is used again', async () => (await outcomeOf(token)) === 'session')
})
