/** Creates topics once. A topic that was deleted is an error, because its records are lost. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, ITopicConfig } from 'kafkajs'
import type { Logger } from '#common/logging/logger.ts'

/** The settings of a new topic. */
export interface TopicOptions {
  topic: string
  partitions: number
  /** 0: the number of brokers, at most three. */
  replication: number
  /** Milliseconds. */
  retention: number
  /** Of one partition. */
  retentionBytes: number
}

/** A record, outside the brokers, that a topic has been created. */
export interface TopicMemory {
  wasCreated(): boolean | Promise<boolean>
  recordCreated(): void | Promise<void>
  /** How an operator allows the creation of a new topic, as an imperative clause. */
  remedy: string
}

/** A topic has been deleted; the message has the remedy. */
export class TopicLostError extends Error {
  override name = 'TopicLostError'
}

const maxReplicas = 3
const leadersMs = 5000
const pollMs = 100

/**
 * Creates a topic, and waits until the leaders of its partitions answer. A topic that exists is left as it is.
 *
 * A broker may know the topic some milliseconds after the controller, and takes records some milliseconds after that. kafkajs
 * (`waitForLeaders`) takes the first for a failure, and does not wait for the second (tulios/kafkajs#1222). Remove when it does both.
 *
 * @param admin requests the metadata of the topic from then on
 * @throws the last error of the brokers if the leaders do not answer within 5 s
 */
export async function createTopic(admin: Admin, topic: ITopicConfig): Promise<void> {
  await admin.createTopics({ waitForLeaders: false, topics: [topic] })
  const giveUpAt = performance.now() + leadersMs
  for (;;) {
    const failure = await admin.fetchTopicOffsets(topic.topic).then(
      () => undefined,
      (error) => error
    )
    if (!failure) return
    if (performance.now() > giveUpAt) throw failure
    await sleep(pollMs)
  }
}

/**
 * Creates a topic unless it exists.
 *
 * @throws {TopicLostError} if it has existed before
 */
export async function ensureTopic(
  admin: Admin,
  options: TopicOptions,
  memory: TopicMemory,
  log: Logger
): Promise<void> {
  const { topic, partitions: numPartitions, retention, retentionBytes } = options
  if (!(await admin.listTopics()).includes(topic)) {
    if (await memory.wasCreated()) {
      throw new TopicLostError(
        `the topic ${topic} was deleted, and its unread records are lost; to create a new one, ${memory.remedy}`
      )
    }
    const replicas = options.replication || Math.min((await admin.describeCluster()).brokers.length, maxReplicas)
    const configEntries = Object.entries({
      // The clocks of producers may differ.
      'message.timestamp.type': 'LogAppendTime',
      'retention.ms': retention,
      'retention.bytes': retentionBytes,
      'min.insync.replicas': Math.max(replicas - 1, 1)
    }).map(([name, value]) => ({ name, value: String(value) }))
    await createTopic(admin, { topic, numPartitions, replicationFactor: replicas, configEntries })
    log.info({ event: 'topic_created', topic, count: numPartitions }, 'created a topic')
  }
  await memory.recordCreated()
}
