/** Sessions on a real Redis that Sentinels monitor: a failover restores no session that has ended, and needs no operator. */

import { Code, ConnectError } from '@connectrpc/connect'
import t from 'tap'
import { startRedisWithSentinels } from '#common/testing/redis.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { probeRedis } from '../server-probes.ts'
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
const untilWritable = () => until('writes are accepted', () => succeeds(client.createSession({ userId: newUser() })))

/** Creates a session that the replicas have; on a busy machine the first attempts may time out. */
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

t.test('after the master is killed, ended sessions are invalid and other sessions are valid', async (t) => {
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
  t.comment(`${outageMs} ms after the master was killed, of which Sentinel waits 1000 before the failover`)
  t.ok(outageMs < 15_000)
  t.notOk(seen.has('invalid'), [...seen].join(' '))
  t.same(new Set(await Promise.all(live.map(outcomeOf))), new Set(['session']))
  t.same(new Set(await Promise.all([...ended, revoked].map(outcomeOf))), new Set(['invalid']))
  await probeRedis(store, ping)

  const unsure = await end(live[1] as string).catch(ConnectError.from)
  t.match(unsure, { code: Code.DeadlineExceeded }, 'no replica has the write')
  await master.start()
  await untilWritable()
  t.match(String(await replica.client.info('replication')), /connected_slaves:1/)
  t.equal(await outcomeOf(live[1] as string), 'invalid')
})

t.test('an unresponsive master is replaced, and is a replica after it resumes', async (t) => {
  const [token, other] = [await createSession(), await createSession()]
  replica.signal('SIGSTOP')
  await until('the master does not respond', async () => (await outcomeOf(token)) !== 'session')
  const outageMs = await until('sessions validate again', async () => (await outcomeOf(token)) === 'session')
  t.comment(`${outageMs} ms`)
  replica.signal('SIGCONT')
  await until('it is a replica, so that writes are replicated', () => succeeds(end(token)))
  t.equal(await outcomeOf(token), 'invalid')
  t.equal(await outcomeOf(other), 'session')
})

// The last test of the file: Sentinels that were stopped take half a minute before they act again.
t.test('a master that a minority of the Sentinels names is not used: another one may exist', async (t) => {
  const token = await createSession()
  sentinels[0]?.signal('SIGSTOP')
  const stoppedAt = performance.now()
  // The votes of all three are valid for 3 s.
  await until('two of three Sentinels suffice', async () => {
    return performance.now() - stoppedAt > 4000 && (await outcomeOf(token)) === 'session'
  })
  sentinels[1]?.signal('SIGSTOP')
  await until('the master is not used', async () => (await outcomeOf(token)) === 'Unavailable')
  // The reason can be that of a Sentinel whose socket has timed out.
  await t.rejects(probeRedis(store, ping), { message: /^cannot be reached$|timeout/ })
  for (const sentinel of sentinels) sentinel.signal('SIGCONT')
  await until('it is used again', async () => (await outcomeOf(token)) === 'session')
})
