/** A sink: the topic, the consumer group, the collected files and the readiness of all of them. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Registry } from '@prometheus-io/client'
import type { Kafka } from 'kafkajs'
import { describeKafkaFailure } from '#common/kafka/failure-reason.ts'
import { ensureTopic, TopicLostError, type TopicOptions } from '#common/kafka/topic.ts'
import type { Logger } from '#common/logging/logger.ts'
import { ProbeError } from '#common/ops/probe.ts'
import type { Dependency } from '#common/ops/readiness.ts'
import { acquireLease, type Lease, leaseFile, renewMs } from '#common/process/directory-lease.ts'
import { createCollector } from './collector.ts'
import { DiskError } from './disk-state.ts'
import { consumeGroup } from './group-consumer.ts'
import type { GroupHandler } from './group-handler.ts'
import { keepFiles } from './keeper.ts'
import { sinkMetrics } from './metrics.ts'
import { topicMarker } from './topic-marker.ts'

/** The dependencies of a sink. */
interface SinkParts {
  kafka: Kafka
  /** The client id of `kafka`. */
  clientId: string
  log: Logger
  registry: Registry
}

/** The options of a sink. */
interface SinkOptions {
  /** The directory of the collected logs of all sinks. */
  directory: string
  /** The name of the sink and of its folder. */
  name: string
  group: string
  rotate: { bytes: number; age: number }
  maxBytes: number
  logs: TopicOptions
}

/** A sink. */
interface Sink {
  start(): void
  /** Leaves the group. */
  stop(): Promise<void>
  /** Closes the files, and releases the folder. */
  close(): Promise<void>
  dependencies: Dependency[]
}

// A folder is kept this long for a process in another container: longer than the group waits for it.
const leaseStaleMs = 15_000
const leaseRetryMs = 1000

export function createSink({ kafka, clientId, log, registry }: SinkParts, options: SinkOptions): Sink {
  const { name, group, rotate, maxBytes, logs } = options
  const { topic } = logs
  const directory = join(options.directory, name)
  const stop = new AbortController()
  const metrics = sinkMetrics(registry, () => collector.lagSeconds())
  const keeper = keepFiles(directory, maxBytes, (bytes) => metrics.storedBytes.set(bytes), log)
  const collector = createCollector({ directory, topic, rotate, keeper, metrics, log }, stop.signal)
  let failure: string | undefined = 'the group is not joined yet'
  let lease: Lease | undefined
  let consuming: Promise<void> = Promise.resolve()

  const handler: GroupHandler = {
    ...collector,
    onResponse() {
      failure = undefined
      collector.onResponse()
    },
    onFailure(error) {
      const reason = reasonOf(error)
      if (failure !== reason) {
        if (error instanceof TopicLostError) log.error({ event: 'topic_lost', topic, reason }, 'the log topic is gone')
        // The readiness probe logs all other failures.
        log.debug({ event: 'log_sink_failed', reason, err: error }, 'reading the topic failed')
      }
      failure = reason
      collector.onFailure(error)
    }
  }

  function reasonOf(error: unknown): string {
    if (error instanceof TopicLostError) return error.message
    return error instanceof DiskError
      ? 'the disk fails, the group is joined again later'
      : describeKafkaFailure(error, topic)
  }

  async function waitForLease(): Promise<void> {
    while (!stop.signal.aborted) {
      try {
        lease = acquireLease(leaseFile(directory), leaseStaleMs)
        if (lease) return
        failure = `another process owns the folder ${name}: give each sink its own name (logSink.name)`
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === undefined) throw error
        failure = `the folder ${name} is unusable (${code})`
      }
      await sleep(leaseRetryMs, undefined, { signal: stop.signal }).catch(() => {})
    }
  }

  async function consume(): Promise<void> {
    await waitForLease()
    if (lease) keeper.start()
    const renewal = setInterval(() => lease?.renew(), renewMs).unref()
    const marker = topicMarker(options.directory, topic)
    const prepare = (admin: Parameters<typeof ensureTopic>[0]) => ensureTopic(admin, logs, marker, log)
    await consumeGroup({ kafka, clientId, topic, group, prepare }, handler, stop.signal)
    clearInterval(renewal)
  }

  return {
    start() {
      consuming = consume()
    },
    async stop() {
      stop.abort()
      await consuming
    },
    async close() {
      await collector.close()
      await keeper.close()
      lease?.release()
    },
    dependencies: [
      dependency('kafka', () => failure ?? (collector.isUnresponsive() ? 'the brokers do not respond' : undefined)),
      dependency('disk', collector.diskFailure)
    ]
  }
}

function dependency(name: string, failure: () => string | undefined): Dependency {
  async function probe(): Promise<void> {
    const reason = failure()
    if (reason !== undefined) throw new ProbeError(reason)
  }
  return { name, required: 'always', probe }
}
