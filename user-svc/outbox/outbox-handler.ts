/** The handler of one type of outbox row. A new type is a file such as user-deleted.ts and a line in server.ts. */

import type { OutboxRow } from './outbox-rows.ts'

/** The steps that follow from a row. After a crash or a lost response a step is repeated, so each is idempotent. */
export interface OutboxHandler {
  /** Runs for all rows of a round before `deliver` of any row, so that no revocation waits for another system. */
  endSessions?(row: OutboxRow): Promise<void>
  /** The system that `deliver` calls: after a failure, the other rows that need it wait for the next round. */
  dependency: string
  deliver(row: OutboxRow): Promise<void>
  /** Runs after the last step. */
  onDone(row: OutboxRow): void
}

/** The handlers by type. Rows of other types stay for a relay of a newer version. */
export type OutboxHandlers = Record<string, OutboxHandler>
