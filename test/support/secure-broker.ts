/** A broker for one test whose listeners require TLS: with SASL, or with a client certificate. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Admin } from 'kafkajs'
import type { Test } from 'tap'
import { createKafka } from '#common/kafka/client.ts'
import { createTopic } from '#common/kafka/topic.ts'
import type { TestCa, TestCertificate } from '#common/testing/certificates.ts'
import { freePort } from '#common/testing/ports.ts'
import { pingKafka, singleBroker } from '../../stack/engines/kafka.ts'
import { findKafka } from '../../stack/engines/kafka-runtime.ts'
import { createSupervisor } from '../../stack/supervisor.ts'
import { runTool } from '../../stack/tool.ts'
import { waitUntil } from '../../stack/wait.ts'
import { temporaryFolder } from './log-stack.ts'
import { alterScramUser, type ScramUser } from './scram-users.ts'

/** The host that the certificate of a broker is for. */
export const brokerHost = 'localhost'
const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
const brokerResource = 4

/**
 * Starts the broker and waits until it answers.
 *
 * @param plainUsers passwords by user, for PLAIN
 */
export async function startSecureBroker(t: Pick<Test, 'teardown'>, ca: TestCa, plainUsers: Record<string, string>) {
  const directory = join(temporaryFolder(t), 'kafka')
  mkdirSync(directory)
  const { signal } = new AbortController()
  const [admin, controller, sasl, certificate] = (await Promise.all([1, 2, 3, 4].map(freePort))) as [
    number,
    number,
    number,
    number
  ]
  let keystores = 0
  /** Writes the certificate and its key into a new file, because Kafka reads a file again only under another name. */
  function writeKeystore({ cert, key }: TestCertificate): string {
    const name = `keystore-${++keystores}.pem`
    writeFileSync(join(directory, name), Buffer.concat([readFileSync(key), readFileSync(cert)]))
    return name
  }
  const issue = (by: TestCa) => writeKeystore(by.issue('broker', [`DNS:${brokerHost}`]))
  const users = Object.entries(plainUsers).map(([name, password]) => `user_${name}="${password}"`)
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `ADMIN://127.0.0.1:${admin},CONTROLLER://127.0.0.1:${controller},SASL://127.0.0.1:${sasl},CERTIFICATE://127.0.0.1:${certificate}`,
    'advertised.listeners': `ADMIN://127.0.0.1:${admin},SASL://${brokerHost}:${sasl},CERTIFICATE://${brokerHost}:${certificate}`,
    'listener.security.protocol.map': 'ADMIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,CERTIFICATE:SSL',
    'inter.broker.listener.name': 'ADMIN',
    'listener.name.sasl.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.sasl.plain.sasl.jaas.config': `org.apache.kafka.common.security.plain.PlainLoginModule required ${users.join(' ')};`,
    'listener.name.sasl.scram-sha-256.sasl.jaas.config': scram,
    'listener.name.sasl.scram-sha-512.sasl.jaas.config': scram,
    'listener.name.certificate.ssl.client.auth': 'required',
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': issue(ca),
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': ca.ca,
    'log.dirs': 'logs',
    ...singleBroker
  }
  const lines = Object.entries(settings).map(([key, value]) => `${key}=${value}\n`)
  writeFileSync(join(directory, 'server.properties'), lines.join(''))
  const kafka = await findKafka(directory, () => {}, signal)
  const format = kafka('kafka.tools.StorageTool', 'format', '-t', 'c2VsZi1ob3N0ZWQtYXV0aA', '-c', 'server.properties')
  await runTool(format.file, format.args, { ...(format.options as object), signal })
  const supervisor = createSupervisor(join(directory, 'run'), () => {})
  t.teardown(() => supervisor.stop([]))
  supervisor.start({ name: 'kafka', graceMs: 10_000, command: () => kafka('kafka.Kafka', 'server.properties') })
  const own = { brokers: [`127.0.0.1:${admin}`] }
  await waitUntil(() => pingKafka(own), 60_000, signal)

  async function asAdmin<T>(use: (client: Admin) => Promise<T>): Promise<T> {
    const client = createKafka(own, 'test').admin()
    await client.connect()
    return use(client).finally(() => client.disconnect())
  }

  return {
    /** The addresses by their names in the certificate. */
    sasl: `${brokerHost}:${sasl}`,
    certificate: `${brokerHost}:${certificate}`,
    /** Without TLS and SASL, for the test itself. */
    admin: own,
    async createTopics(...topics: string[]): Promise<void> {
      await asAdmin((client) => Promise.all(topics.map((topic) => createTopic(client, { topic, numPartitions: 1 }))))
    },
    alterUser: (user: ScramUser) => alterScramUser(admin, user),
    /** Replaces the certificate of the broker. */
    async replaceCertificate(by = ca): Promise<void> {
      const location = issue(by)
      const configEntries = ['sasl', 'certificate'].flatMap((listener) => [
        { name: `listener.name.${listener}.ssl.keystore.type`, value: 'PEM' },
        { name: `listener.name.${listener}.ssl.keystore.location`, value: location }
      ])
      const resources = [{ type: brokerResource, name: '1', configEntries }]
      await asAdmin((client) => client.alterConfigs({ validateOnly: false, resources }))
    }
  }
}
