/** One membership in the consumer group, from its begin to its end. With common/kafka.ts, all that knows kafkajs. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, Consumer, EachBatchPayload, Kafka, KafkaMessage } from 'kafkajs'
import { untilAborted } from '#common/time/deadline.ts'
import { withinMs } from '#common/time/timeout.ts'
import { type Committed, decodeCommit } from './checkpoint.ts'
import type { GroupHandler } from './group-handler.ts'
import type { LogRecord } from './records.ts'

/** How the group is read. */
export interface GroupOptions {
  kafka: Kafka
  topic: string
  group: string
  /** Called before the group is joined. */
  prepare: (admin: Admin) => Promise<void>
}

// The least that brokers allow by default. A dead member's partitions wait for so long.
const sessionTimeoutMs = 6000
const maxWaitMs = 1000
// Small batches cost as many syncs of the disk as large ones.
const minBytes = 65_536
// Compressed; what they hold is collected in pieces of the size below.
const maxBytesPerPartition = 2 ** 20
const pieceBytes = 8 * 2 ** 20
const heartbeatMs = 1000
// The client itself goes on for ever without a word when the topic is deleted.
const topicCheckMs = 5000
const commitRetryMs = 200
const commitForMs = 60_000
// How long brokers may take when it is time to stop; what they have not said by then is found out at the next start.
export const stopMs = 2000

/** When a membership ends. */
export interface Signals {
  stop: AbortSignal
  /** Some time after it, when nothing is waited for any more. */
  late: AbortSignal
}

/** Joins, collects, and leaves. Resolves when it is time to stop, rejects when it has to begin anew. */
export async function holdMembership(options: GroupOptions, handler: GroupHandler, signals: Signals): Promise<void> {
  const { stop } = signals
  const { kafka, topic, group, prepare } = options
  const admin = kafka.admin()
  const consumer = kafka.consumer({
    groupId: group,
    sessionTimeout: sessionTimeoutMs,
    rebalanceTimeout: sessionTimeoutMs,
    heartbeatInterval: 1000,
    allowAutoTopicCreation: false,
    metadataMaxAge: 30_000,
    maxWaitTimeInMs: maxWaitMs,
    minBytes,
    maxBytesPerPartition,
    retry: { retries: 4, initialRetryTime: 100, maxRetryTime: 1000, restartOnFailure: async () => false }
  })
  try {
    await untilAborted(stop, withinMs(15_000, admin.connect()))
    await untilAborted(stop, withinMs(30_000, prepare(admin)))
    await untilAborted(stop, withinMs(15_000, consumer.connect()))
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    await running(consumer, admin, { topic, group }, handler, signals)
  } finally {
    // A member that leaves is not waited for by the others.
    await withinMs(stop.aborted ? stopMs : 5000, Promise.all([consumer.disconnect(), admin.disconnect()])).catch(
      () => {}
    )
  }
}

/** Resolves when it is time to stop, rejects when the consumer cannot go on; either way nothing is collected any more. */
function running(
  consumer: Consumer,
  admin: Admin,
  { topic, group }: { topic: string; group: string },
  handler: GroupHandler,
  { stop, late }: Signals
): Promise<void> {
  let assigned: Promise<unknown> = Promise.resolve()
  let collecting: Promise<unknown> = Promise.resolve()
  const over = new Promise<void>((resolve, reject) => {
    let generation = 0
    let isOver = false

    const check = setInterval(() => {
      admin.fetchTopicMetadata({ topics: [topic] }).catch((error) => {
        if (error.type === 'UNKNOWN_TOPIC_OR_PARTITION') fail(error)
      })
    }, topicCheckMs)

    function fail(error: unknown): void {
      isOver = true
      clearInterval(check)
      stop.removeEventListener('abort', end)
      reject(error)
    }

    function end(): void {
      clearInterval(check)
      resolve()
    }

    /** Throws when the membership is over or the group has moved on: then others may be collecting what is here. */
    function requireCurrent(own: number): void {
      if (isOver || own !== generation) throw new Error('the group has moved on')
    }

    if (stop.aborted) end()
    else stop.addEventListener('abort', end, { once: true })
    consumer.on(consumer.events.CRASH, ({ payload: { error } }) => fail(error))
    consumer.on(consumer.events.FETCH, handler.alive)
    consumer.on(consumer.events.GROUP_JOIN, ({ payload: { memberAssignment } }) => {
      if (stop.aborted) return
      generation += 1
      const own = generation
      // What is committed counts when nobody writes on any more what was read before.
      assigned = Promise.allSettled([assigned, collecting]).then(async () => {
        requireCurrent(own)
        const committed = await untilAborted(late, committedOffsets(admin, topic, group))
        requireCurrent(own)
        await handler.assigned(memberAssignment[topic] ?? [], committed)
      })
      assigned.catch((error) => {
        if (own === generation) fail(error)
      })
    })

    async function eachBatch({ batch, heartbeat, commitOffsetsIfNecessary }: EachBatchPayload): Promise<void> {
      const own = generation
      await assigned
      // What is under way is finished, nothing is begun any more.
      if (stop.aborted) return
      const { partition, messages, highWatermark } = batch

      async function beat(): Promise<void> {
        requireCurrent(own)
        await heartbeat()
      }

      /** Tries until the group has answered. An answer that does not come leaves open whether it was taken. */
      async function commit(offset: number, metadata: string): Promise<void> {
        const giveUpAt = performance.now() + commitForMs
        const offsets = { topics: [{ topic, partitions: [{ partition, offset: String(offset), metadata }] }] }
        for (;;) {
          requireCurrent(own)
          try {
            return await untilAborted(late, commitOffsetsIfNecessary(offsets))
          } catch (error) {
            if (isRefusal(error) || performance.now() > giveUpAt || stop.aborted) throw error
          }
          await sleep(commitRetryMs)
        }
      }

      async function collectAll(): Promise<void> {
        for (const piece of pieces(messages)) {
          requireCurrent(own)
          const isLast = piece.at(-1) === messages.at(-1)
          await handler.collect(
            {
              partition,
              records: piece.map(toRecord),
              next: Number(isLast ? batch.lastOffset() : piece.at(-1)?.offset) + 1,
              end: Number(highWatermark),
              writtenAt: Number(piece.at(-1)?.timestamp ?? 0)
            },
            { heartbeat: beat, commit }
          )
        }
      }

      // However long the disk takes, the member lives; if the group has moved on, the commit is told so.
      const pulse = setInterval(() => void heartbeat().catch(() => {}), heartbeatMs)
      try {
        const work = collectAll()
        collecting = work.catch(() => {})
        await work
      } catch (error) {
        fail(error)
        // Not as it is: after some errors the client would join once more, and get partitions that no handler collects.
        // Nor as one to retry: the client would read on meanwhile, and join on what it is then answered.
        throw Object.assign(new Error('the membership is over', { cause: error }), { retriable: false })
      } finally {
        clearInterval(pulse)
      }
    }

    if (stop.aborted) return
    consumer.run({ autoCommit: false, partitionsConsumedConcurrently: 1, eachBatch }).catch(fail)
  })
  // The next membership begins when whatever this one was doing has come to its end.
  return over.finally(() => Promise.allSettled([assigned, collecting]))
}

/** Messages in pieces of bounded size, so that none takes long to collect. */
function pieces(messages: KafkaMessage[]): KafkaMessage[][] {
  const found: KafkaMessage[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const message of messages) {
    const size = message.value?.length ?? 0
    if (bytes + size > pieceBytes) {
      found.push([])
      bytes = 0
    }
    found.at(-1)?.push(message)
    bytes += size
  }
  return found
}

async function committedOffsets(admin: Admin, topic: string, groupId: string): Promise<Map<number, Committed>> {
  const [found] = await admin.fetchOffsets({ groupId, topics: [topic] })
  return new Map(
    found?.partitions.map(({ partition, offset, metadata }) => [
      partition,
      { offset: Number(offset), said: decodeCommit(metadata) }
    ])
  )
}

/** Whether the coordinator has answered, and not taken the commit. */
function isRefusal(error: unknown): boolean {
  const { name, retriable } = error as { name?: string; retriable?: boolean }
  return name === 'KafkaJSProtocolError' && retriable === false
}

function toRecord({ offset, key, value, headers }: KafkaMessage): LogRecord {
  return { offset: Number(offset), key, value, headers }
}
