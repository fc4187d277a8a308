/** The topic of the log: made once, and missed when it is gone. */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Admin } from 'kafkajs'
import type { Logger } from '#common/logger.ts'

/** How the topic is made. */
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

/** The topic has been there and is not any more; the message says what to do. */
export class TopicLostError extends Error {
  override name = 'TopicLostError'
}

const mostReplicas = 3

/**
 * Makes the topic, unless it is there. What tells that it has been there before is a file beside the collected logs.
 *
 * @throws {TopicLostError} if it was there and is gone: lines went with it, and nobody should find that out by chance
 */
export async function ensureTopic(admin: Admin, options: TopicOptions, directory: string, log: Logger): Promise<void> {
  const { topic, partitions: numPartitions, retention, retentionBytes } = options
  const marker = join(directory, `topic-${topic}.json`)
  if (!(await admin.listTopics()).includes(topic)) {
    if (existsSync(marker)) {
      throw new TopicLostError(
        `the topic ${topic} is gone, and with it what had not been collected of it; to begin with a new one, remove ${relative('.', marker)}`
      )
    }
    const replicas = options.replication || Math.min((await admin.describeCluster()).brokers.length, mostReplicas)
    const configEntries = Object.entries({
      'retention.ms': retention,
      'retention.bytes': retentionBytes,
      'min.insync.replicas': Math.max(replicas - 1, 1)
    }).map(([name, value]) => ({ name, value: String(value) }))
    await admin.createTopics({
      waitForLeaders: true,
      topics: [{ topic, numPartitions, replicationFactor: replicas, configEntries }]
    })
    log.info({ event: 'topic_created', topic, count: numPartitions }, 'made the topic of the log')
  }
  if (!existsSync(marker)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(marker, `${JSON.stringify({ topic, since: new Date().toISOString() })}\n`, { mode: 0o600 })
  }
}
