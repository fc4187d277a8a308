/** Publishes the events of accounts to Kafka, as `user/v1/events.proto` documents them. */

import { type DescMessage, type Message, toJson } from '@bufbuild/protobuf'
import type { KafkaOptions, Sender } from '#common/kafka/client.ts'
import { ensureTopic, type TopicMemory, type TopicOptions } from '#common/kafka/topic.ts'
import type { Logger } from '#common/logging/logger.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { withinMs } from '#common/time/timeout.ts'
import type { Database } from '../database.ts'
import { eq } from '../drizzle.ts'
import { topics } from '../schema.ts'
import { eventSigner } from './event-signature.ts'

export interface AccountEvent {
  /** The same for each delivery of the event. */
  id: string
  userId: string
  occurredAt: Date
  schema: DescMessage
  message: Message
}

/** The brokers rejected an event of the batch, or its size; they will also reject it the next time. */
export class RejectedEventError extends Error {
  override name = 'RejectedEventError'
}

export interface AccountEvents {
  /**
   * Resolves when the brokers have stored all events, in their order for each user; rejects if that is not known.
   *
   * @throws {RejectedEventError}
   */
  publish(events: AccountEvent[]): Promise<void>
  close(): Promise<void>
}

type AccountEventsOptions = Omit<KafkaOptions, 'logs'> & { accountEvents: TopicOptions }

const topicTimeoutMs = 15_000
const queryTimeoutMs = 3000
const disconnectTimeoutMs = 1000

/**
 * Loads the client, connects, and creates the topic if needed, when the first event is published.
 *
 * @param keys `userSvc.eventKeys`
 */
export function createAccountEvents(
  db: Database,
  options: AccountEventsOptions,
  log: Logger,
  keys: string[] = []
): AccountEvents {
  const { topic } = options.accountEvents
  const signatureOf = eventSigner(keys)
  let sender: Sender | undefined
  let topicExists = false

  async function requireTopic(): Promise<void> {
    const { createKafka, createSender } = await import('#common/kafka/client.ts')
    sender ??= createSender(options, 'user-svc')
    const admin = createKafka(options, 'user-svc').admin()
    try {
      await admin.connect()
      await ensureTopic(admin, options.accountEvents, topicMemory(db, topic), log)
      topicExists = true
    } finally {
      await withinMs(disconnectTimeoutMs, admin.disconnect()).catch(() => {})
    }
  }

  return {
    async publish(accountEvents) {
      if (!topicExists) await withinMs(topicTimeoutMs, requireTopic())
      const records = accountEvents.map((event) => ({ key: event.userId, ...cloudEvent(event, signatureOf) }))
      await sender?.sendAll(topic, records).catch(async (error) => {
        const { isRejectedRecord } = await import('#common/kafka/client.ts')
        if (isRejectedRecord(error)) throw new RejectedEventError('the brokers rejected an event', { cause: error })
        topicExists = false
        throw error
      })
    },
    close: async () => sender?.close()
  }
}

/** @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md structured mode */
function cloudEvent(
  { id, userId, occurredAt, schema, message }: AccountEvent,
  signatureOf: ReturnType<typeof eventSigner>
) {
  const value = JSON.stringify({
    specversion: '1.0',
    id,
    source: 'user-svc',
    type: schema.typeName,
    subject: userId,
    time: occurredAt.toISOString(),
    datacontenttype: 'application/json',
    data: toJson(schema, message)
  })
  return { value, headers: { 'content-type': 'application/cloudevents+json', ...signatureOf(value) } }
}

/** Remembers the topic in the database, so that its loss by the brokers is noticed. */
function topicMemory(db: Database, name: string): TopicMemory {
  const query = <T>(result: PromiseLike<T>) => callEngine(queryTimeoutMs, result)
  return {
    wasCreated: async () => (await query(db.select().from(topics).where(eq(topics.name, name)))).length > 0,
    recordCreated: async () => void (await query(db.insert(topics).values({ name }).onConflictDoNothing())),
    remedy: `delete its row from the table topics of user-svc's database`
  }
}
