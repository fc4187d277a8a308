/** One membership in the consumer group, through its generations, until it stops or fails. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, Consumer, EachBatchPayload } from 'kafkajs'
import { untilAborted } from '#common/time/deadline.ts'
import type { GroupHandler } from './group-handler.ts'
import { committedOffsets, isRejected, splitMessages, toRecord } from './kafka-batch.ts'

/** How a membership is ended. */
export interface StopSignals {
  /** The batch in progress is finished, and no other batch starts. */
  stop: AbortSignal
  /** Aborts some time after `stop`: nothing is waited for any more. */
  giveUp: AbortSignal
}

/** The parts of a membership; consumer and admin are connected, the consumer is subscribed. */
interface MembershipParts {
  consumer: Consumer
  admin: Admin
  topic: string
  group: string
  handler: GroupHandler
  signals: StopSignals
}

const heartbeatMs = 1000
// kafkajs 2.2.4 fetches on without an error when its topic is deleted. No upstream issue known. Remove when the consumer
// emits CRASH with UNKNOWN_TOPIC_OR_PARTITION.
const topicCheckMs = 5000
const commitRetryMs = 200
const commitTimeoutMs = 60_000

export function createMembership(parts: MembershipParts): { run(): Promise<void> } {
  const { consumer, admin, topic, group, handler, signals } = parts
  const { stop, giveUp } = signals
  const ended = Promise.withResolvers<void>()
  let hasFailed = false
  /** Counts the joins: each starts a generation of the group. */
  let generation = 0
  /** The work of the present generation, of which at most one step runs at a time. */
  let recovering: Promise<unknown> = Promise.resolve()
  let collecting: Promise<unknown> = Promise.resolve()

  function fail(error: unknown): void {
    hasFailed = true
    ended.reject(error)
  }

  /** Throws if the generation has ended: other members may then own its partitions. */
  function requireGeneration(own: number): void {
    if (hasFailed || own !== generation) throw new Error('the group has started another generation')
  }

  function checkTopic(): void {
    admin.fetchTopicMetadata({ topics: [topic] }).catch((error) => {
      if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION') fail(error)
    })
  }

  function onJoin(partitions: number[]): void {
    if (stop.aborted) return
    generation += 1
    const own = generation
    // The committed offsets are read after all work of the previous generation has ended.
    recovering = Promise.allSettled([recovering, collecting]).then(() => recover(own, partitions))
    recovering.catch((error) => {
      if (own === generation) fail(error)
    })
  }

  async function recover(own: number, partitions: number[]): Promise<void> {
    requireGeneration(own)
    const committed = await untilAborted(giveUp, committedOffsets(admin, topic, group))
    requireGeneration(own)
    await handler.onAssigned(partitions, committed)
  }

  async function onBatch(payload: EachBatchPayload): Promise<void> {
    const own = generation
    await recovering
    if (stop.aborted) return
    // Keeps the membership alive while the disk is slow. The next commit reports that the group has moved on.
    const heartbeats = setInterval(() => void payload.heartbeat().catch(() => {}), heartbeatMs)
    try {
      const work = collect(own, payload)
      collecting = work.catch(() => {})
      await work
    } catch (error) {
      fail(error)
      // kafkajs would join again after some errors, and fetch on after a retriable one, with a handler that has ended.
      throw Object.assign(new Error('the membership has ended', { cause: error }), { retriable: false })
    } finally {
      clearInterval(heartbeats)
    }
  }

  async function collect(own: number, payload: EachBatchPayload): Promise<void> {
    const { partition, messages, highWatermark } = payload.batch
    const control = {
      async heartbeat() {
        requireGeneration(own)
        await payload.heartbeat()
      },
      commit: (offset: number, metadata: string) => commit(own, payload, offset, metadata)
    }
    for (const piece of splitMessages(messages)) {
      requireGeneration(own)
      const last = piece.at(-1)
      // The offsets behind the last message of a batch may be taken by control records.
      const lastOffset = last === messages.at(-1) ? payload.batch.lastOffset() : last?.offset
      await handler.collect(
        {
          partition,
          records: piece.map(toRecord),
          next: Number(lastOffset) + 1,
          end: Number(highWatermark),
          writtenAt: Number(last?.timestamp ?? 0)
        },
        control
      )
    }
  }

  /** Retries while the outcome is unknown. */
  async function commit(own: number, payload: EachBatchPayload, offset: number, metadata: string): Promise<void> {
    const giveUpAt = performance.now() + commitTimeoutMs
    const partitions = [{ partition: payload.batch.partition, offset: String(offset), metadata }]
    for (;;) {
      requireGeneration(own)
      try {
        return await untilAborted(giveUp, payload.commitOffsetsIfNecessary({ topics: [{ topic, partitions }] }))
      } catch (error) {
        if (isRejected(error) || performance.now() > giveUpAt || stop.aborted) throw error
      }
      await sleep(commitRetryMs)
    }
  }

  return {
    /** Resolves when `stop` aborts, rejects when the membership fails; in both cases all work has ended. */
    async run() {
      if (stop.aborted) return
      const topicCheck = setInterval(checkTopic, topicCheckMs)
      const onStop = () => ended.resolve()
      stop.addEventListener('abort', onStop, { once: true })
      consumer.on(consumer.events.CRASH, ({ payload: { error } }) => fail(error))
      consumer.on(consumer.events.FETCH, handler.onResponse)
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => onJoin(payload.memberAssignment[topic] ?? []))
      consumer.run({ autoCommit: false, partitionsConsumedConcurrently: 1, eachBatch: onBatch }).catch(fail)
      try {
        await ended.promise
      } finally {
        clearInterval(topicCheck)
        stop.removeEventListener('abort', onStop)
        await Promise.allSettled([recovering, collecting])
      }
    }
  }
}
