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
import type { AccountEvent, AccountEvents } from '../../outbox/account-events.ts'
import { accountRelay } from '../../outbox/account-relay.ts'
import { createOutboxRows } from '../../outbox/outbox-rows.ts'
import { createRelay, type RelayParts, startRelay } from '../../outbox/relay.ts'
import { sessionsDouble, sessionTransport } from '../service.ts'

/** Events that are published to memory. */
export function createRecordedEvents() {
  const recorded = {
    published: [] as AccountEvent[],
    /** The sizes of all batches, also of those that failed. */
    batches: [] as number[],
    failure: undefined as Error | undefined,
    /** Thrown for a batch with an event of the user, if any. */
    failureOf: (_userId: string): Error | undefined => undefined
  }
  const events: AccountEvents = {
    async publish(batch) {
      recorded.batches.push(batch.length)
      const failure = recorded.failure ?? batch.map(({ userId }) => recorded.failureOf(userId)).find(Boolean)
      if (failure) throw failure
      recorded.published.push(...batch)
    },
    async close() {}
  }
  return { recorded, events }
}

export async function createOutbox(t: Pick<Test, 'teardown'>, log = silentLog) {
  const url = await createTestDatabase(t)
  await migrateDatabase({ url })
  // The tests insert and update up to 150,000 rows by one statement.
  const { db, close } = connectDatabase({ url, maxConnections: 5, queryTimeout: 60_000 })
  t.teardown(close)
  const sessionSvc = sessionsDouble()
  const sessions = createClient(SessionService, sessionTransport(sessionSvc))
  const clock = createTestClock()
  const registers = [new Registry()]
  const pending = new Gauge({ name: 'auth_outbox_pending', help: 'x', registers })
  const failing = new Gauge({ name: 'auth_outbox_failing', help: 'x', registers })
  const gauge = async (which: Gauge) => (await which.get()).values[0]?.value

  function relayParts(events: AccountEvents | undefined): RelayParts {
    return { rows: createOutboxRows(db), ...accountRelay(sessions, events), pending, failing, log, clock }
  }

  return {
    db,
    sessions,
    sessionSvc,
    clock,
    pending: () => gauge(pending),
    failing: () => gauge(failing),
    relay(events: AccountEvents | undefined) {
      const relay = createRelay(relayParts(events))
      /** Runs both steps. @returns the number of successes */
      const relayOnce = async () => (await relay.revoke()) + (await relay.deliver())
      return { ...relay, relayOnce }
    },

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

    /** Inserts a row of any type. @returns the user's id */
    async insertRow(type: string, row: { userId?: string; epoch?: number; payload?: object } = {}): Promise<string> {
      const { userId = randomUUID(), epoch = null, payload = {} } = row
      const values = sql`(${type}, ${userId}, ${epoch}, ${JSON.stringify(payload)}::jsonb)`
      await db.execute(sql`insert into outbox (type, user_id, session_epoch, payload) values ${values}`)
      return userId
    },

    /** Inserts a row for each of many new accounts, as an import does. */
    insertCreations: async (count: number) =>
      void (await db.execute(sql`
        insert into outbox (type, user_id) select 'user.created', gen_random_uuid() from generate_series(1, ${count})`)),

    /** Ends the leases and the waits of all rows. */
    makeDue: async () => void (await db.execute(sql`update outbox set claimed_until = null where done_at is null`)),

    async count(condition: string): Promise<number> {
      const { rows } = await db.execute(sql`select count(*)::int as n from outbox where ${sql.raw(condition)}`)
      return rows[0]?.n as number
    }
  }
}
