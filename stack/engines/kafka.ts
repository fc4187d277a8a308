/** Kafka: one broker in KRaft mode, as a process or in Docker. */

import { existsSync, mkdirSync, realpathSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { AclEntry, Admin } from 'kafkajs'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import { grantAccess } from '../kafka-access.ts'
import { findFreePort } from '../port-check.ts'
import { backgroundAfterMs, type Program } from '../supervised.ts'
import type { SystemUser } from '../system-user.ts'
import { runTool } from '../tool.ts'
import { waitUntil } from '../wait.ts'
import { containerProgram, openToContainer } from './docker.ts'
import { type EngineOptions, engineGraceMs, engineStartMs } from './engine.ts'
import { engineOwner } from './engine-owner.ts'
import { findKafka, heap, jarsLink, type KafkaCommand, lightCompiler } from './kafka-runtime.ts'
import { type KafkaPasswords, listenerSettings } from './kafka-users.ts'
import { createSettingsFolder, openSettingsFolder, writeSettingsFile } from './settings-folder.ts'

export const kafkaImage = 'apache/kafka:4.3.1'

/** The users of a broker and their rules. */
export interface KafkaAccess {
  passwords: KafkaPasswords
  rules: AclEntry[]
}

interface KafkaOptions extends EngineOptions {
  /** Without it, every client may do everything. */
  access?: KafkaAccess
}

/** `ready` resolves when the broker answers and has its rules, and rejects if that takes more than a minute. */
interface StartedKafka {
  address: string
  ready: Promise<void>
}

/** Starts a broker and resolves before it answers: the services do not wait for Kafka. */
export async function startKafka(options: KafkaOptions): Promise<StartedKafka> {
  const { supervisor, port, signal, access } = options
  mkdirSync(options.directory, { recursive: true, mode: 0o700 })
  supervisor.start(options.docker ? contained(options) : await native(options))
  const address = `127.0.0.1:${port}`
  const connection = { brokers: [address], ...(access && { sasl: kafkaLogin('admin', access.passwords) }) }
  const prepare = async (admin: Admin) => {
    await admin.describeCluster()
    if (access) await grantAccess(admin, access.rules)
  }
  const ready = waitUntil(() => withKafkaAdmin(connection, prepare), engineStartMs, signal)
  ready.catch(() => {})
  return { address, ready }
}

/** The login of a user, as the configuration section of a service. */
export function kafkaLogin(username: keyof KafkaPasswords, passwords: KafkaPasswords) {
  return { mechanism: 'plain' as const, username, password: passwords[username] }
}

/** Resolves if a Kafka broker answers at one of the addresses, and rejects otherwise. */
export async function pingKafka(connection: KafkaConnection): Promise<void> {
  await withKafkaAdmin(connection, (admin) => admin.describeCluster())
}

async function withKafkaAdmin<T>(connection: KafkaConnection, use: (admin: Admin) => Promise<T>): Promise<T> {
  // Imported on demand: the import takes a tenth of a second.
  const { createKafka } = await import('#common/kafka/client.ts')
  const admin = createKafka(connection, 'stack').admin()
  try {
    await admin.connect()
    return await use(admin)
  } finally {
    await admin.disconnect().catch(() => {})
  }
}

/** Settings of a single broker, for `make run` and compose.yaml: it has all replicas, and a group starts with its first member. */
export const singleBroker = {
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  // A killed broker cannot register again before its last session expires, by default after nine seconds.
  'broker.session.timeout.ms': '3000',
  'broker.heartbeat.interval.ms': '500',
  // By default an idle controller writes two records a second.
  'metadata.max.idle.interval.ms': '5000'
}

function brokerSettings(port: number, controllerPort: number, logs: string): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'CLIENTS',
    listeners: `CLIENTS://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `CLIENTS://127.0.0.1:${port}`,
    'log.dirs': logs,
    ...singleBroker
  }
}

const [logs, settingsFile] = ['logs', 'server.properties']

const propertyLines = (settings: Record<string, string>) =>
  Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join('')

async function native({ access, ...options }: KafkaOptions): Promise<Program> {
  const { directory, port, print, signal, isBackground = false } = options
  const folder = createSettingsFolder(directory)
  const kafka = await findKafka(folder, print, signal)
  const owner = await engineOwner('kafka', { directory, print }, [realpathSync(join(folder, jarsLink))])
  openSettingsFolder(folder, owner)
  await removeLeftovers(directory, owner)
  if (!existsSync(join(directory, logs))) await format(kafka, { directory, folder, signal }, owner)
  async function command() {
    const settings = brokerSettings(port, await findFreePort(), join(relative(folder, directory), logs))
    const ownListeners = listenerSettings(['CLIENTS'], access?.passwords)
    // With passwords.
    writeSettingsFile(join(folder, settingsFile), propertyLines({ ...settings, ...ownListeners }), owner)
    const { options, ...program } = kafka('kafka.Kafka', settingsFile)
    return { ...program, options: { ...options, ...owner } }
  }
  return { name: 'kafka', graceMs: engineGraceMs, command, ...(isBackground && { yieldsAfterMs: backgroundAfterMs }) }
}

const draft = `${logs}.new`

/** Removes the draft of a killed attempt, and the files of an earlier version, which had the settings beside the logs. */
async function removeLeftovers(directory: string, owner: SystemUser | undefined): Promise<void> {
  const names = [draft, settingsFile, 'format.properties', jarsLink]
  await runTool('rm', ['-rf', ...names], { cwd: directory, ...owner })
}

/** Formats the log folder in one step, as the user of the broker: a killed attempt leaves only a draft. */
async function format(
  kafka: KafkaCommand,
  { directory, folder, signal }: { directory: string; folder: string; signal: AbortSignal },
  owner: SystemUser | undefined
): Promise<void> {
  const file = 'format.properties'
  const settings = {
    ...brokerSettings(9092, 9093, join(relative(folder, directory), draft)),
    ...listenerSettings(['CLIENTS'], undefined)
  }
  writeSettingsFile(join(folder, file), propertyLines(settings), owner)
  const clusterId = 'c2VsZi1ob3N0ZWQtYXV0aA'
  const tool = kafka('kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', file)
  await runTool(tool.file, tool.args, { ...(tool.options as object), ...owner, signal })
  rmSync(join(folder, file))
  await runTool('mv', [draft, logs], { cwd: directory, ...owner })
}

/** The environment variable of the image for a broker setting. */
export const settingVariable = (key: string) => `KAFKA_${key.replaceAll('.', '_').toUpperCase()}`

/** Java and logging options of the image. compose.yaml repeats them. */
export const containedJvm = {
  KAFKA_HEAP_OPTS: heap,
  KAFKA_JVM_PERFORMANCE_OPTS: lightCompiler.join(' '),
  // Warnings to standard error; the default also writes files into the container.
  KAFKA_LOG4J_OPTS: '-Dlog4j2.configurationFile=/opt/kafka/config/tools-log4j2.yaml'
}

function contained({ docker, directory, port, access }: KafkaOptions): Program {
  // For the user of the image.
  openToContainer(directory)
  const listeners = 'CLIENTS://:9092,INSIDE://:9094,CONTROLLER://:9093'
  const settings = {
    ...brokerSettings(9092, 9093, '/var/lib/kafka/data'),
    listeners,
    'advertised.listeners': `CLIENTS://127.0.0.1:${port},INSIDE://localhost:9094`,
    'inter.broker.listener.name': 'INSIDE',
    ...listenerSettings(['CLIENTS', 'INSIDE'], access?.passwords)
  }
  const env = Object.fromEntries(Object.entries(settings).map(([key, value]) => [settingVariable(key), value]))
  return containerProgram(docker as NonNullable<typeof docker>, {
    name: 'kafka',
    image: kafkaImage,
    port,
    containerPort: 9092,
    directory,
    containerDirectory: '/var/lib/kafka/data',
    env: { ...env, ...containedJvm }
  })
}
