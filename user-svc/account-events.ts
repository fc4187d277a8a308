/** Publishes the events of accounts to Kafka, as `user/v1/events.proto` documents them. */

import { create, toJson } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import type { KafkaOptions, Sender } from '#common/kafka/client.ts'
import { ensureTopic, type TopicMemory, type TopicOptions } from '#common/kafka/topic.ts'
import type { Logger } from '#common/logging/logger.ts'
import { askEngine } from '#common/time/engine-call.ts'
import { withinMs } from '#common/time/timeout.ts'
import { UserDeletedSchema } from '#gen/user/v1/events_pb.ts'
import type { Database } from './database.ts'
import { eq } from './drizzle.ts'
import { topics } from './schema.ts'

/** An account that was deleted. */
export interface DeletedUser {
  userId: string
  deletedAt: Date
}

/** Tells other systems. */
export interface AccountEvents {
  /** Resolves when the brokers have the event; rejects when that is not known. */
  userDeleted(user: DeletedUser): Promise<void>
  close(): Promise<void>
}

/** How events travel. */
export type AccountEventsOptions = Pick<KafkaOptions, 'brokers' | 'compression'> & { accountEvents: TopicOptions }

const topicWithinMs = 15_000
const askWithinMs = 3000

/** Loads the client and connects when the first event comes; the topic is made then, if it is not there. */
export function createAccountEvents(db: Database, options: AccountEventsOptions, log: Logger): AccountEvents {
  const { topic } = options.accountEvents
  let sender: Sender | undefined
  let isThere = false

  async function requireTopic(): Promise<void> {
    const { createKafka, createSender } = await import('#common/kafka/client.ts')
    sender ??= createSender(options, 'user-svc')
    const admin = createKafka(options.brokers, 'user-svc').admin()
    try {
      await admin.connect()
      await ensureTopic(admin, options.accountEvents, topicMemory(db, topic), log)
      isThere = true
    } finally {
      await withinMs(1000, admin.disconnect()).catch(() => {})
    }
  }

  return {
    async userDeleted(user) {
      if (!isThere) await withinMs(topicWithinMs, requireTopic())
      await sender?.send(topic, { key: user.userId, ...cloudEvent(user) }).catch((error) => {
        isThere = false
        throw error
      })
    },
    close: async () => sender?.close()
  }
}

/** @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md structured mode */
function cloudEvent({ userId, deletedAt }: DeletedUser) {
  const data = create(UserDeletedSchema, { userId, deletedAt: timestampFromDate(deletedAt) })
  const event = {
    specversion: '1.0',
    // An account is deleted once.
    id: `${userId}/deleted`,
    source: 'user-svc',
    type: UserDeletedSchema.typeName,
    subject: userId,
    time: deletedAt.toISOString(),
    datacontenttype: 'application/json',
    data: toJson(UserDeletedSchema, data)
  }
  return { value: JSON.stringify(event), headers: { 'content-type': 'application/cloudevents+json' } }
}

/** The database remembers what the brokers have lost. */
function topicMemory(db: Database, name: string): TopicMemory {
  const ask = <T>(answer: PromiseLike<T>) => askEngine(askWithinMs, answer)
  return {
    wasThere: async () => (await ask(db.select().from(topics).where(eq(topics.name, name)))).length > 0,
    noteThere: async () => void (await ask(db.insert(topics).values({ name }).onConflictDoNothing())),
    remedy: `delete its row from the table topics of user-svc's database`
  }
}
