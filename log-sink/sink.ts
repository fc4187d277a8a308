/** A sink: the topic, the group, the collected files, and whether all of that works. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Registry } from '@prometheus-io/client'
import type { Kafka } from 'kafkajs'
import { kafkaTrouble } from '#common/kafka/client.ts'
import { ensureTopic, TopicLostError, type TopicOptions } from '#common/kafka/topic.ts'
import type { Logger } from '#common/logging/logger.ts'
import { type Dependency, ProbeError } from '#common/ops/readiness.ts'
import { type Ownership, renewMs, takeOwnership } from '#common/process/directory-lease.ts'
import { createCollector, DiskError } from './collector.ts'
import { consumeGroup } from './group-consumer.ts'
import type { GroupHandler } from './group-handler.ts'
import { keepFiles } from './keeper.ts'
import { sinkMetrics } from './metrics.ts'
import { topicMarker } from './topic-marker.ts'

/** What a sink works with. */
export interface SinkParts {
  kafka: Kafka
  log: Logger
  registry: Registry
}

/** The rules of a sink. */
export interface SinkOptions {
  /** Of the collected logs of all sinks. */
  directory: string
  /** Of the sink, and of its folder. */
  name: string
  group: string
  rotate: { bytes: number; age: number }
  maxBytes: number
  logs: TopicOptions
}

/** A sink. */
export interface Sink {
  start(): void
  close(): Promise<void>
  dependencies: Dependency[]
}

// How long the folder of a sink is kept for a process that cannot be seen: longer than the group waits for it.
const foreignStaleMs = 15_000

export function createSink({ kafka, log, registry }: SinkParts, options: SinkOptions): Sink {
  const { name, group, rotate, maxBytes, logs } = options
  const directory = join(options.directory, name)
  const stop = new AbortController()
  const metrics = sinkMetrics(registry, () => collector.lagSeconds())
  const keeper = keepFiles(directory, maxBytes, (bytes) => metrics.storedBytes.set(bytes), log)
  const collector = createCollector({ directory, topic: logs.topic, rotate, keeper, metrics, log }, stop.signal)
  let trouble: string | undefined = 'the group is not joined yet'
  let ownership: Ownership | undefined
  let consuming: Promise<void> = Promise.resolve()

  const handler: GroupHandler = {
    ...collector,
    alive() {
      trouble = undefined
      collector.alive()
    },
    failed(error) {
      const lost = error instanceof TopicLostError
      const reason = lost
        ? error.message
        : error instanceof DiskError
          ? 'the group is joined again when the disk works'
          : kafkaTrouble(error, logs.topic)
      // What else fails is told by the readiness probe, once.
      if (lost && trouble !== reason)
        log.error({ event: 'topic_lost', topic: logs.topic, reason }, 'the topic of the log is gone')
      if (trouble !== reason) log.debug({ event: 'log_sink_failed', reason, err: error }, 'reading the topic failed')
      trouble = reason
      collector.failed(error)
    }
  }

  async function consume(): Promise<void> {
    while (!stop.signal.aborted) {
      ownership = takeOwnership(directory, foreignStaleMs)
      if (ownership) break
      trouble = `another process has the folder ${name}: give each sink a name of its own (logSink.name)`
      await sleep(1000, undefined, { signal: stop.signal }).catch(() => {})
    }
    if (ownership) keeper.start()
    const renewal = setInterval(() => ownership?.renew(), renewMs).unref()
    const marker = topicMarker(options.directory, logs.topic)
    const prepare = (admin: Parameters<typeof ensureTopic>[0]) => ensureTopic(admin, logs, marker, log)
    await consumeGroup({ kafka, topic: logs.topic, group, prepare }, handler, stop.signal)
    clearInterval(renewal)
  }

  return {
    start() {
      consuming = consume()
    },
    async close() {
      stop.abort()
      await consuming
      await collector.close()
      await keeper.close()
      ownership?.leave()
    },
    dependencies: [
      {
        name: 'kafka',
        required: 'always',
        async probe() {
          if (trouble !== undefined) throw new ProbeError(trouble)
          if (collector.isSilent()) throw new ProbeError('the brokers give no answer')
        }
      },
      {
        name: 'disk',
        required: 'always',
        async probe() {
          const reason = collector.diskTrouble()
          if (reason !== undefined) throw new ProbeError(reason)
        }
      }
    ]
  }
}
