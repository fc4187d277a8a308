/** Promise 2 over a crash: what the deletion of an account has begun is finished by itself, whichever process was killed meanwhile. */

import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import postgres from 'postgres'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { createProduct, newAddress, password, startWithinMs } from './support/product.ts'

t.setTimeout(600_000)

const brokers = engineAddress('TEST_KAFKA_BROKERS')
const topic = `deletions-${Date.now()}`
const kafka = { KAFKA_BROKERS: brokers, KAFKA_ACCOUNT_EVENTS_TOPIC: topic, KAFKA_LOGS_TOPIC: `${topic}-logs` }
const first = await createProduct(t, { ...kafka, LOG_STDOUT: 'error' })
const { USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_SESSION_SVC_URL } = first.env as Record<string, string>
const second = await createProduct(t, {
  ...kafka,
  LOG_STDOUT: 'error',
  ...{ USER_SVC_POSTGRES_URL, RPC_TOKEN, RPC_SESSION_SVC_URL }
} as Record<string, string>)
await first.startAll()
second.start('user-svc')
await until('the second user-svc is ready', () => second.isReady('user-svc'), startWithinMs)

function usersOf(port: number) {
  return createClient(
    UserService,
    createConnectTransport({
      baseUrl: `http://127.0.0.1:${port}`,
      httpVersion: '2',
      interceptors: [
        (next) => (request) => {
          request.header.set('authorization', `Bearer ${RPC_TOKEN}`)
          return next(request)
        }
      ]
    })
  )
}

t.test('killed between the statement and the end of the sessions', async (t) => {
  const sql = postgres(USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  const count = async () =>
    (
      await sql<{ all: number; revoked: number; done: number }[]>`
      select count(*)::int as all, count(revoked_at)::int as revoked, count(done_at)::int as done from outbox`
    )[0]

  const accounts = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const { body } = await first.call('POST', '/reg', { json: { email: newAddress(), password } })
      return { userId: body.user.id as string, token: body.session.token as string }
    })
  )
  // session-svc hangs, so both instances stand between the two steps of the deletions that they were asked for.
  first.process('session-svc')?.kill('SIGSTOP')
  const clients = [usersOf(first.ports.users), usersOf(second.ports.users)]
  const answers = accounts.map(({ userId }, index) =>
    (clients[index % 2] as (typeof clients)[0]).deleteAccount({ userId }, { timeoutMs: 2000 }).then(
      () => 'done',
      () => 'not known'
    )
  )
  await until('all rows are gone', async () => (await count())?.all === 10)
  t.match(await count(), { revoked: 0, done: 0 })
  await first.stop('user-svc', 'SIGKILL')
  t.same(new Set(await Promise.all(answers)), new Set(['not known']))
  first.process('session-svc')?.kill('SIGCONT')

  // What the killed one had claimed is left alone for half a minute.
  await until('all is done', async () => (await count())?.done === 10, 60_000)
  for (const { token } of accounts) {
    let status = 503
    while (status === 503) {
      status = (await first.call('GET', '/session', { token })).status
      await sleep(20)
    }
    t.equal(status, 401)
  }
  const admin = createKafka([brokers], 'test').admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  const published = ends.reduce((sum, { high }) => sum + Number(high), 0)
  t.ok(published >= 10, `${published} events of 10 deletions`)

  first.start('user-svc')
  await until('it is ready again', () => first.isReady('user-svc'), startWithinMs)
  for (const { userId } of accounts) await usersOf(first.ports.users).deleteAccount({ userId })
  t.match(await count(), { all: 10, done: 10 }, 'asking again changes nothing')
})
