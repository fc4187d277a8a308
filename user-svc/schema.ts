/** The tables that user-svc owns. Changed here, then `npx drizzle-kit generate` writes the migration. */

import { bigint, index, pgTable, text, timestamp, uniqueIndex, uuid } from 'drizzle-orm/pg-core'

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
    /** When everything that follows from it had been done. */
    doneAt: timestamp('done_at', { withTimezone: true, precision: 3 })
  },
  (table) => [index('outbox_user_id_idx').on(table.userId)]
)
