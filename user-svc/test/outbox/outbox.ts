/** An outbox in a test database, with session-svc and the events of accounts in memory, for the tests of the relay. */

import { randomUUID } from 'node:crypto'
import { createClient } from '@connectrpc/connect'
import { Gauge, Registry } from '@prometheus-io/client'
import { sql } from 'drizzle-orm'
import type { Test } from 'tap'
import { createTestDatabase, silentLog } from '#common/testing/service.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { connectDatabase } from '../../database.ts'
import { migrateDatabase } from '../../migrations.ts'
import type { AccountEvents } from '../../outbox/account-events.ts'
import type { OutboxHandlers } from '../../outbox/outbox-handler.ts'
import { createOutboxRows } from '../../outbox/outbox-rows.ts'
import { createRelay, type RelayParts, startRelay } from '../../outbox/relay.ts'
import { handleUserDeleted } from '../../outbox/user-deleted.ts'
import { sessionsDouble, sessionTransport } from '../service.ts'

/** Events that are published to memory. */
export function createRecordedEvents() {
  const published: { id: string; userId: string; occurredAt: Date }[] = []
  const recorded = { published, failure: undefined as Error | undefined }
  const events: AccountEvents = {
    async publish(_schema, event) {
      if (recorded.failure) throw recorded.failure
      published.push(event)
    },
    async close() {}
  }
  return { recorded, events }
}

export async function createOutbox(t: Pick<Test, 'teardown'>, log = silentLog) {
  const url = await createTestDatabase(t)
  await migrateDatabase(url)
  const { db, close } = connectDatabase({ url, maxConnections: 5, queryTimeout: 3000 })
  t.teardown(close)
  const sessionSvc = sessionsDouble()
  const sessions = createClient(SessionService, sessionTransport(sessionSvc))
  const clock = createTestClock()
  const registers = [new Registry()]
  const pending = new Gauge({ name: 'auth_outbox_pending', help: 'x', registers })
  const failing = new Gauge({ name: 'auth_outbox_failing', help: 'x', registers })
  const gauge = async (which: Gauge) => (await which.get()).values[0]?.value

  function relayParts(events: AccountEvents, others: OutboxHandlers = {}): RelayParts {
    const handlers = { 'user.deleted': handleUserDeleted({ sessions, events, log }), ...others }
    return { rows: createOutboxRows(db), handlers, pending, failing, log, clock }
  }

  return {
    db,
    sessionSvc,
    clock,
    pending: () => gauge(pending),
    failing: () => gauge(failing),
    relay: (events: AccountEvents, others?: OutboxHandlers) => createRelay(relayParts(events, others)),

    runningRelay(events: AccountEvents) {
      const running = startRelay(relayParts(events))
      t.teardown(running.close)
      return running
    },

    /** Inserts a row as a deletion does. @returns the user's id */
    async insertDeletion(userId: string = randomUUID(), epoch = 1): Promise<string> {
      const values = sql`('user.deleted', ${userId}, ${epoch})`
      await db.execute(sql`insert into outbox (type, user_id, session_epoch) values ${values}`)
      return userId
    },

    /** Inserts a row of a type that only some tests handle. @returns the user's id */
    async insertGreeting(language: string): Promise<string> {
      const userId = randomUUID()
      const values = sql`('user.greeted', ${userId}, ${JSON.stringify({ language })}::jsonb)`
      await db.execute(sql`insert into outbox (type, user_id, payload) values ${values}`)
      return userId
    },

    /** Ends the leases and the waits of all rows. */
    makeDue: async () => void (await db.execute(sql`update outbox set claimed_until = null where done_at is null`)),

    async count(condition: string): Promise<number> {
      const { rows } = await db.execute(sql`select count(*)::int as n from outbox where ${sql.raw(condition)}`)
      return rows[0]?.n as number
    }
  }
}
