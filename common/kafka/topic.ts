/** Topics of the product: each is made once, and missed when it is gone. */

import type { Admin } from 'kafkajs'
import type { Logger } from '#common/logging/logger.ts'

/** How a topic is made. */
export interface TopicOptions {
  topic: string
  partitions: number
  /** 0: as many as there are brokers, at most three. */
  replication: number
  /** Milliseconds. */
  retention: number
  /** Of one partition. */
  retentionBytes: number
}

/** What is remembered of a topic, somewhere else than with the brokers. */
export interface TopicMemory {
  wasThere(): boolean | Promise<boolean>
  noteThere(): void | Promise<void>
  /** What to do to have a new one made, as an imperative clause. */
  remedy: string
}

/** A topic has been there and is not any more; the message says what to do. */
export class TopicLostError extends Error {
  override name = 'TopicLostError'
}

const mostReplicas = 3

/**
 * Makes a topic, unless it is there.
 *
 * @throws {TopicLostError} if it was there and is gone: records went with it, and nobody should find that out by chance
 */
export async function ensureTopic(
  admin: Admin,
  options: TopicOptions,
  memory: TopicMemory,
  log: Logger
): Promise<void> {
  const { topic, partitions: numPartitions, retention, retentionBytes } = options
  if (!(await admin.listTopics()).includes(topic)) {
    if (await memory.wasThere()) {
      throw new TopicLostError(
        `the topic ${topic} is gone, and with it what had not been read of it; to begin with a new one, ${memory.remedy}`
      )
    }
    const replicas = options.replication || Math.min((await admin.describeCluster()).brokers.length, mostReplicas)
    const configEntries = Object.entries({
      // The clocks of producers may be wrong.
      'message.timestamp.type': 'LogAppendTime',
      'retention.ms': retention,
      'retention.bytes': retentionBytes,
      'min.insync.replicas': Math.max(replicas - 1, 1)
    }).map(([name, value]) => ({ name, value: String(value) }))
    await admin.createTopics({
      waitForLeaders: true,
      topics: [{ topic, numPartitions, replicationFactor: replicas, configEntries }]
    })
    log.info({ event: 'topic_created', topic, count: numPartitions }, 'made a topic')
  }
  await memory.noteThere()
}
