/** Kafka by TLS and SASL, on a real broker: logins, what is refused and why, and certificates that are replaced. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createSender } from '#common/kafka/client.ts'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import { describeKafkaFailure } from '#common/kafka/failure-reason.ts'
import { createTestCa, expired, replaceFiles } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { startSink, temporaryFolder } from './support/log-stack.ts'
import { startSecureBroker } from './support/secure-broker.ts'

t.setTimeout(300_000)

const [ca, other] = [createTestCa(t), createTestCa(t, 'other')]
const password = randomBytes(24).toString('hex')
const broker = await startSecureBroker(t, ca, { plain: password })
await broker.alterUser({ name: 'scram', mechanism: 'scram-sha-256', password })
await broker.alterUser({ name: 'scram', mechanism: 'scram-sha-512', password: `${password}-512` })
const topic = 'secure'
await broker.createTopics(topic)

type Sasl = NonNullable<KafkaConnection['sasl']>
const login = (mechanism: Sasl['mechanism'], username: string, secret = password): Sasl => ({
  mechanism,
  username,
  password: secret
})
const trusted = { enabled: true, ca: ca.ca }
const plain = login('plain', 'plain')

/** The reason of the failure to send a record; `ok` if it is written. */
async function outcome(t: Pick<Test, 'teardown'>, connection: KafkaConnection): Promise<string> {
  const sender = createSender({ ...connection, compression: 'none' }, 'test')
  t.teardown(sender.close)
  return sender.send(topic, { key: 'k', value: 'v' }).then(
    () => 'ok',
    (error) => describeKafkaFailure(error, topic)
  )
}
const bySasl = (sasl: Sasl, tls: KafkaConnection['tls'] = trusted, address = broker.sasl) => ({
  brokers: [address],
  sasl,
  ...(tls && { tls })
})

t.test('logs in by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, and by certificate', async (t) => {
  t.equal(await outcome(t, bySasl(plain)), 'ok')
  t.equal(await outcome(t, bySasl(login('scram-sha-256', 'scram'))), 'ok')
  t.equal(await outcome(t, bySasl(login('scram-sha-512', 'scram', `${password}-512`))), 'ok')
  const tls = { ...trusted, ...ca.issue('user-svc') }
  t.equal(await outcome(t, { brokers: [broker.certificate], tls }), 'ok')
})

t.test('names the reason of a failure, without a secret', async (t) => {
  const rejected = 'the brokers reject the user or the password of kafka.sasl'
  const foreign = /: its certificate is of an unknown CA \((SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_\w+)\)$/
  const [, port] = broker.sasl.split(':')
  const failures: [what: string, connection: KafkaConnection, reason: string | RegExp][] = [
    ['password of PLAIN', bySasl(login('plain', 'plain', 'hunter2')), rejected],
    ['password of SCRAM', bySasl(login('scram-sha-256', 'scram', 'hunter2')), rejected],
    ['password of the other mechanism', bySasl(login('scram-sha-512', 'scram')), rejected],
    ['user', bySasl(login('scram-sha-512', 'hunter2')), rejected],
    ['no login', { brokers: [broker.sasl], tls: trusted }, /^(no broker is usable|the brokers answer)/],
    ['unknown CA', bySasl(plain, { enabled: true, ca: other.ca }), foreign],
    ['the CAs of Node.js', bySasl(plain, { enabled: true }), foreign],
    ['wrong host', bySasl(plain, trusted, `127.0.0.1:${port}`), /another host \(ERR_TLS_CERT_ALTNAME_INVALID\)$/],
    ['no TLS', { brokers: [broker.sasl], sasl: plain }, /^(no broker is usable|the brokers do not respond)/],
    ['TLS to a plain port', { ...broker.admin, tls: trusted }, /^(no broker is|the brokers do not respond)/],
    ['no certificate', { brokers: [broker.certificate], tls: trusted }, /rejects the client certificate/],
    [
      'certificate of another CA',
      { brokers: [broker.certificate], tls: { ...trusted, ...other.issue('user-svc') } },
      /rejects the client certificate/
    ],
    [
      'expired certificate',
      { brokers: [broker.certificate], tls: { ...trusted, ...ca.issue('old', undefined, expired) } },
      /rejects the client certificate/
    ]
  ]
  for (const [what, connection, reason] of failures) {
    const described = await outcome(t, connection)
    t.match(described, reason, what)
    t.notMatch(described, /hunter2/)
  }
})

t.test('a client certificate that is replaced on disk is used at the next connection', async (t) => {
  const files = { cert: ca.file('used.pem'), key: ca.file('used.key') }
  replaceFiles(other.issue('user-svc'), files)
  const connection = { brokers: [broker.certificate], tls: { ...trusted, ...files } }
  const sender = createSender({ ...connection, compression: 'none' }, 'test')
  t.teardown(sender.close)
  const send = () => sender.send(topic, { key: 'k', value: 'v' })
  await t.rejects(send())
  replaceFiles(ca.issue('user-svc'), files)
  t.equal(await send(), 0)
  await broker.replaceCertificate()
  t.equal(await send(), 0, 'the open connection stays')
  await sender.close()
  t.equal(await send(), 0, 'the next one accepts the replaced certificate of the broker')
})

t.test(
  'log-sink with a wrong password reports it in its readiness and log, and logs in once it is right',
  async (t) => {
    const directory = temporaryFolder(t)
    const sink = await startSink(t, {
      KAFKA_BROKERS: broker.sasl,
      KAFKA_LOGS_TOPIC: 'logs',
      KAFKA_TLS_ENABLED: 'true',
      KAFKA_TLS_CA: ca.ca,
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: 'sink',
      KAFKA_SASL_PASSWORD: password,
      LOG_SPOOL_DIRECTORY: join(directory, 'spool'),
      LOG_SINK_DIRECTORY: join(directory, 'logs'),
      LOG_STDOUT: 'trace'
    })
    const rejected = 'the brokers reject the user or the password of kafka.sasl'
    await until('readiness reports it', async () => (await sink.ops('/readyz?verbose')).text.includes(rejected))
    t.equal(await sink.isReady(), false)
    t.match(sink.output(), new RegExp(`"event":"dependency_down".*${rejected}`))
    t.notMatch(sink.output() + (await sink.ops('/readyz?verbose')).text, password)
    await broker.alterUser({ name: 'sink', mechanism: 'scram-sha-512', password })
    await until('it is ready', sink.isReady)
  }
)
