/** Promise 2 over a crash: a deletion is completed by another user-svc, or after a restart, if its user-svc was killed. */

import { createClient } from '@connectrpc/connect'
import postgres from 'postgres'
import t from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { engineAddress, testKafka, testTransport } from '#common/testing/service.ts'
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

const usersAt = (port: number) => createClient(UserService, testTransport(port, RPC_TOKEN))

async function publishedEvents(): Promise<number> {
  const admin = createKafka(testKafka(), 'test').admin()
  await admin.connect()
  const ends = await admin.fetchTopicOffsets(topic)
  await admin.disconnect()
  return ends.reduce((sum, { high }) => sum + Number(high), 0)
}

t.test('deletions are completed after user-svc was killed between the statement and the revocation', async (t) => {
  const sql = postgres(USER_SVC_POSTGRES_URL as string, { max: 1, onnotice: () => {} })
  t.teardown(() => sql.end())
  async function outbox() {
    const [counts] = await sql<{ all: number; revoked: number; done: number }[]>`
      select count(*)::int as all, count(revoked_at)::int as revoked, count(done_at)::int as done from outbox
      where type = 'user.deleted'`
    return counts
  }

  const accounts = await Promise.all(
    Array.from({ length: 10 }, async () => {
      const { body } = await first.call('POST', '/reg', { json: { email: newAddress(), password } })
      return { userId: body.user.id as string, token: body.session.token as string }
    })
  )
  // While session-svc is stopped, the deletions of both instances wait between their two steps.
  first.process('session-svc')?.kill('SIGSTOP')
  const clients = [usersAt(first.ports.users), usersAt(second.ports.users)] as const
  const outcomes = accounts.map(({ userId }, index) =>
    (index % 2 === 0 ? clients[0] : clients[1]).deleteAccount({ userId }, { timeoutMs: 2000 }).then(
      () => 'done',
      () => 'unknown'
    )
  )
  await until('all rows are deleted', async () => (await outbox())?.all === 10)
  t.match(await outbox(), { revoked: 0, done: 0 })
  await first.stop('user-svc', 'SIGKILL')
  t.same(new Set(await Promise.all(outcomes)), new Set(['unknown']))
  first.process('session-svc')?.kill('SIGCONT')

  // The rows that the killed instance had leased wait until the lease ends, after 30 s.
  await until('all rows are done', async () => (await outbox())?.done === 10, 90_000)
  for (const { token } of accounts) {
    const status = async () => (await first.call('GET', '/session', { token })).status
    await until('the gateway reaches session-svc', async () => (await status()) !== 503)
    t.equal(await status(), 401)
  }
  const events = await publishedEvents()
  t.ok(events >= 20, `${events} events of 10 registrations and 10 deletions`)

  first.start('user-svc')
  await until('the first user-svc is ready again', () => first.isReady('user-svc'), startWithinMs)
  for (const { userId } of accounts) await usersAt(first.ports.users).deleteAccount({ userId })
  t.match(await outbox(), { all: 10, done: 10 }, 'repeated deletions change nothing')
})
