/** Attacks on the broker of `make run`: forge and steal log lines, delete topics, forge events. */

import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, Kafka } from 'kafkajs'
import { createKafka } from '#common/kafka/client.ts'
import type { KafkaConnection } from '#common/kafka/connection.ts'
import { withinMs } from '#common/time/timeout.ts'

type Attack = (kafka: Kafka) => Promise<void>

const attackMs = 30_000
const attempts = 3
const retryMs = 300
// A broker that has just started has no coordinators and no leaders for some seconds.
const startMs = 20_000
const ofStart = /COORDINATOR|LEADER|NOT_AVAILABLE|REBALANCE/

const attacks: Record<string, Attack> = {
  'write a log line': (kafka: Kafka) => produce(kafka, 'logs'),
  'write an event': (kafka: Kafka) => produce(kafka, 'account-events'),
  'read the log': (kafka: Kafka) => consume(kafka, 'logs'),
  'read events': (kafka: Kafka) => consume(kafka, 'account-events'),
  'join the group of log-sink': (kafka: Kafka) => join(kafka, 'logs'),
  'join the group of log-sink for events': (kafka: Kafka) => join(kafka, 'account-events'),
  'create a topic': (kafka: Kafka) =>
    administer(kafka, async (admin) => void (await admin.createTopics({ topics: [{ topic: 'mine' }] }))),
  'change a topic': (kafka: Kafka) =>
    administer(kafka, async (admin) => {
      const configEntries = [{ name: 'retention.ms', value: '1' }]
      await admin.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: 'logs', configEntries }] })
    }),
  'give itself rights': (kafka: Kafka) =>
    administer(kafka, async (admin) => {
      const all = { principal: 'User:gateway', host: '*', operation: 2, permissionType: 3 }
      await admin.createAcls({
        acl: [{ ...all, resourceType: 2, resourceName: '*', resourcePatternType: 3 }]
      })
    }),
  'delete the log': (kafka: Kafka) => deleteTopic(kafka, 'logs'),
  'delete events': (kafka: Kafka) => deleteTopic(kafka, 'account-events')
}

/** The names of all attacks. */
export const kafkaAttacks = Object.keys(attacks)

/** Tries attacks; those that delete come last. @returns those that succeeded, and the reasons of the others */
export async function attackKafka(connection: KafkaConnection, names = kafkaAttacks) {
  const succeeded = new Set<string>()
  const refusals = new Set<string>()
  async function attempt(name: string): Promise<void> {
    const reason = await outcomeOf(attacks[name] as Attack, connection)
    if (reason === undefined) succeeded.add(name)
    else refusals.add(reason)
  }
  const { deleting = [], others = [] } = Object.groupBy(names, (name) =>
    name.startsWith('delete') ? 'deleting' : 'others'
  )
  await Promise.all(others.map(attempt))
  await Promise.all(deleting.map(attempt))
  return { succeeded: kafkaAttacks.filter((name) => succeeded.has(name)), refusals: [...refusals].sort() }
}

/** @returns the reason of the refusal; undefined if the attack succeeded */
async function outcomeOf(attack: Attack, connection: KafkaConnection): Promise<string | undefined> {
  const startEndsAt = performance.now() + startMs
  for (let left = attempts; ; left -= 1) {
    try {
      await withinMs(attackMs, attack(createKafka(connection, 'attacker')))
      return undefined
    } catch (error) {
      const reason = reasonOf(error as Error)
      const isStarting = ofStart.test(reason) && performance.now() < startEndsAt
      // A busy broker answers with errors that pass.
      if ((left <= 1 && !isStarting) || /AUTHORIZATION|SASL/.test(reason)) return reason
    }
    await sleep(retryMs)
  }
}

function reasonOf(error: Error & { type?: string; errors?: Error[]; groups?: { error?: Error }[] }): string {
  const nested = [
    ...(error.errors ?? []),
    ...(error.groups ?? []).map((group) => group.error),
    error.cause as Error | undefined
  ]
  const inner = nested.find((each) => each !== undefined)
  return error.type ?? (inner ? reasonOf(inner) : error.name)
}

function deleteTopic(kafka: Kafka, topic: string): Promise<void> {
  return administer(kafka, (admin) => admin.deleteTopics({ topics: [topic], timeout: attackMs })).catch((error) => {
    // Deleted by an attempt without an answer. Without the right to delete it, the answer is another one.
    if (error.type !== 'UNKNOWN_TOPIC_OR_PARTITION') throw error
  })
}

async function produce(kafka: Kafka, topic: string): Promise<void> {
  const producer = kafka.producer({ allowAutoTopicCreation: false })
  try {
    await producer.connect()
    await producer.send({ topic, messages: [{ key: 'attacker', value: '{}\n' }] })
  } finally {
    await producer.disconnect().catch(() => {})
  }
}

/** Resolves when the consumer has fetched. In a group of its own, no earlier attempt delays it as a member that has ended. */
const consume = (kafka: Kafka, topic: string) => runConsumer(kafka, topic, `readers-${randomUUID()}`, 'FETCH')

/** Resolves when the consumer is a member of the group. */
const join = (kafka: Kafka, topic: string) => runConsumer(kafka, topic, 'log-sink', 'GROUP_JOIN')

async function runConsumer(kafka: Kafka, topic: string, groupId: string, until: 'FETCH' | 'GROUP_JOIN'): Promise<void> {
  const consumer = kafka.consumer({ groupId, retry: { retries: 0, restartOnFailure: async () => false } })
  const done = Promise.withResolvers<void>()
  done.promise.catch(() => {})
  consumer.on(consumer.events[until], () => done.resolve())
  consumer.on(consumer.events.CRASH, ({ payload: { error } }) => done.reject(error))
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await consumer.run({ eachMessage: async () => {} })
    await done.promise
  } finally {
    await consumer.disconnect().catch(() => {})
  }
}

async function administer(kafka: Kafka, use: (admin: Admin) => Promise<unknown>): Promise<void> {
  const admin = kafka.admin()
  try {
    await admin.connect()
    await use(admin)
  } finally {
    await admin.disconnect().catch(() => {})
  }
}
