/**
 * The tables that user-svc owns, and the effect of an account's deletion on each. After a change here,
 * `npx drizzle-kit generate --name <what>` writes the migration; a new table needs an entry in `effectOfDeletion`.
 */

import { bigint, index, integer, jsonb, pgTable, sql, text, timestamp, uniqueIndex, uuid } from './drizzle.ts'

/** One row per account. */
export const users = pgTable(
  'users',
  {
    /** UUID version 7: ordered by time of creation. */
    id: uuid().primaryKey(),
    /** The address in its normalised form. */
    email: text().notNull(),
    /** Scheme, pepper, cost and hash; see passwords/password-hashes.ts. */
    passwordHash: text('password_hash').notNull(),
    /** Raised when all sessions of the account end: sessions of a lower epoch are invalid. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' }).notNull(),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow()
  },
  (table) => [uniqueIndex('users_email_key').on(table.email)]
)

/** Events for the relay, each written by the statement that makes it true. */
export const outbox = pgTable(
  'outbox',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** Selects the handler, such as `user.deleted`; see server.ts. */
    type: text().notNull(),
    userId: uuid('user_id').notNull(),
    /** The raised session epoch, for types that end sessions. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' }),
    /** Further data of the type; no secret, and no personal data besides the user id. */
    payload: jsonb().$type<Record<string, unknown>>().notNull().default({}),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    /** The end of a relay's lease, or of the wait after a failure. Rows that were never tried come first. */
    claimedUntil: timestamp('claimed_until', { withTimezone: true, precision: 3 }),
    /** When the sessions had ended. */
    revokedAt: timestamp('revoked_at', { withTimezone: true, precision: 3 }),
    /** Consecutive failures, which decide how long the relay backs off. */
    attempts: integer().notNull().default(0),
    /** When the last step was done. */
    doneAt: timestamp('done_at', { withTimezone: true, precision: 3 })
  },
  (table) => [
    index('outbox_user_id_idx').on(table.userId),
    index('outbox_pending_idx').on(table.claimedUntil.asc().nullsFirst(), table.id).where(sql`done_at is null`)
  ]
)

/** Kafka topics that have existed: a missing one was lost, so it is reported instead of created again. */
export const topics = pgTable('topics', {
  name: text().primaryKey(),
  since: timestamp({ withTimezone: true, precision: 3 }).notNull().defaultNow()
})

/**
 * The effect of an account's deletion on a table. `erased`: the statement in accounts/delete-account.ts deletes the rows
 * of the account, itself or by a cascade. `kept`: the rows stay, for the stated reason; `holdsUserId` states whether they contain the user id.
 */
type EffectOfDeletion =
  | { effect: 'erased'; userIdColumn: string }
  | { effect: 'kept'; holdsUserId: boolean; reason: string }

/** Every table by its name. A table that is missing here fails test/effect-of-deletion.test.ts. */
export const effectOfDeletion: Record<string, EffectOfDeletion> = {
  users: { effect: 'erased', userIdColumn: 'id' },
  outbox: {
    effect: 'kept',
    holdsUserId: true,
    reason: 'the relay needs the user id to end sessions and publish the event, and deletes the row after 30 days'
  },
  topics: { effect: 'kept', holdsUserId: false, reason: 'holds no data of users' }
}
