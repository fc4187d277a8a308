/** Reads the topic as a member of the consumer group, and joins again after each failure. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, Kafka } from 'kafkajs'
import { backoffMs } from '#common/time/backoff.ts'
import { untilAborted } from '#common/time/deadline.ts'
import { withinMs } from '#common/time/timeout.ts'
import type { GroupHandler } from './group-handler.ts'
import { createMembership, type StopSignals } from './group-membership.ts'
import { sinkAssigner } from './sink-assigner.ts'

/** The topic and its group. */
interface GroupOptions {
  kafka: Kafka
  /** The client id of `kafka`, which all sinks of the group have. */
  clientId: string
  topic: string
  group: string
  /** Called before the group is joined. */
  prepare: (admin: Admin) => Promise<void>
}

const rejoinBackoff = { baseMs: 200, capMs: 1000 }
// The least that brokers allow by default. The partitions of a dead member wait for this time.
const sessionTimeoutMs = 6000
// Brokers get this time to answer when the sink stops. The next start finds out the outcome of later commits.
const stopMs = 2000

/** Reads until `stop` aborts, and leaves the group. */
export async function consumeGroup(options: GroupOptions, handler: GroupHandler, stop: AbortSignal): Promise<void> {
  const signals = { stop, giveUp: abortedAfter(stop, stopMs) }
  for (let failures = 0; !stop.aborted; failures += 1) {
    const startedAt = performance.now()
    await holdMembership(options, handler, signals).catch((error) => {
      if (!stop.aborted) handler.onFailure(error)
    })
    if (performance.now() - startedAt > 30_000) failures = 0
    await sleep(backoffMs(failures, rejoinBackoff), undefined, { signal: stop }).catch(() => {})
  }
}

/** Joins, collects, and leaves. Resolves when `stop` aborts, rejects when the membership ends earlier. */
async function holdMembership(options: GroupOptions, handler: GroupHandler, signals: StopSignals): Promise<void> {
  const { kafka, clientId, topic, group, prepare } = options
  const { stop } = signals
  const admin = kafka.admin()
  const consumer = kafka.consumer({
    groupId: group,
    partitionAssigners: [sinkAssigner(clientId, handler.onForeignMembers)],
    // Lines are written without transactions; an open transaction of another producer would hold back those behind it.
    readUncommitted: true,
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: sessionTimeoutMs,
    heartbeatInterval: 1000,
    allowAutoTopicCreation: false,
    metadataMaxAge: 30_000,
    maxWaitTimeInMs: 1000,
    // Each batch costs a sync of the disk, whatever its size.
    minBytes: 65_536,
    maxBytesPerPartition: 2 ** 20,
    retry: { retries: 4, initialRetryTime: 100, maxRetryTime: 1000, restartOnFailure: async () => false }
  })
  try {
    await untilAborted(stop, withinMs(15_000, admin.connect()))
    await untilAborted(stop, withinMs(30_000, prepare(admin)))
    await untilAborted(stop, withinMs(15_000, consumer.connect()))
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await createMembership({ consumer, admin, topic, group, handler, signals }).run()
  } finally {
    // The group does not wait for a member that has left.
    const leaving = Promise.all([consumer.disconnect(), admin.disconnect()])
    await withinMs(stop.aborted ? stopMs : 5000, leaving).catch(() => {})
  }
}

/** A signal that aborts `ms` after another one. */
function abortedAfter(signal: AbortSignal, ms: number): AbortSignal {
  const later = new AbortController()
  signal.addEventListener('abort', () => void setTimeout(() => later.abort(), ms).unref(), { once: true })
  return later.signal
}
