/** The tables that user-svc owns. Changed here, then `npx drizzle-kit generate` writes the migration. */

import { bigint, index, integer, pgTable, sql, text, timestamp, uniqueIndex, uuid } from './drizzle.ts'

/** One row an account. */
export const users = pgTable(
  'users',
  {
    /** UUID version 7: ordered by time of creation. */
    id: uuid().primaryKey(),
    /** The address in its normalised form. */
    email: text().notNull(),
    /** Scheme, pepper, cost and hash; see passwords.ts. */
    passwordHash: text('password_hash').notNull(),
    /** Raised when all sessions of the account end; sessions of lower epochs are not valid. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' }).notNull(),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow()
  },
  (table) => [uniqueIndex('users_email_key').on(table.email)]
)

/** What other systems have yet to be told; written in the statement that makes it true. */
export const outbox = pgTable(
  'outbox',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** What happened, such as `user.deleted`. */
    type: text().notNull(),
    userId: uuid('user_id').notNull(),
    /** The raised session epoch: sessions below it are to end. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' }).notNull(),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    /** A relay has it until then, or it is tried again after that; rows that were never tried come first. */
    claimedUntil: timestamp('claimed_until', { withTimezone: true, precision: 3 }),
    /** When the sessions had been ended. */
    revokedAt: timestamp('revoked_at', { withTimezone: true, precision: 3 }),
    /** Failures in a row, which decide how long the relay backs off. */
    attempts: integer().notNull().default(0),
    /** When other systems had been told, and with that everything done. */
    doneAt: timestamp('done_at', { withTimezone: true, precision: 3 })
  },
  (table) => [
    index('outbox_user_id_idx').on(table.userId),
    index('outbox_pending_idx').on(table.claimedUntil.asc().nullsFirst(), table.id).where(sql`done_at is null`)
  ]
)

/** Topics that have been there: one that is gone later is missed, not made again. */
export const topics = pgTable('topics', {
  name: text().primaryKey(),
  since: timestamp({ withTimezone: true, precision: 3 }).notNull().defaultNow()
})
