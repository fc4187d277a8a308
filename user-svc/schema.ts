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
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    /** When the owner proved to receive email at the address. */
    emailVerifiedAt: timestamp('email_verified_at', { withTimezone: true, precision: 3 }),
    /** When an operator disabled the account. */
    disabledAt: timestamp('disabled_at', { withTimezone: true, precision: 3 })
  },
  (table) => [
    uniqueIndex('users_email_key').on(table.email),
    // For searches by prefix, whatever the collation of the database.
    index('users_email_prefix_idx').on(table.email.op('text_pattern_ops'))
  ]
)

/** Events for the relay, each written by the statement that makes it true. */
export const outbox = pgTable(
  'outbox',
  {
    id: bigint({ mode: 'bigint' }).primaryKey().generatedAlwaysAsIdentity(),
    /** Selects the handler, such as `user.deleted`; see outbox/account-event-types.ts. */
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
    index('outbox_pending_idx').on(table.claimedUntil.asc().nullsFirst(), table.id).where(sql`done_at is null`),
    // Finds the earlier rows of a user, also while the table has no statistics.
    index('outbox_pending_user_idx').on(table.userId, table.id).where(sql`done_at is null`),
    // Revocations do not wait behind events that cannot be published.
    index('outbox_revocations_idx')
      .on(table.claimedUntil.asc().nullsFirst(), table.id)
      .where(sql`done_at is null and session_epoch is not null and revoked_at is null`),
    index('outbox_done_at_idx').on(table.doneAt).where(sql`done_at is not null`)
  ]
)

/**
 * One row per email, and the only trace of its token: mail/email-token.ts computes the token from the row. A row
 * without a user is the decoy of a request for an unknown address: nothing is sent.
 */
export const emails = pgTable(
  'emails',
  {
    /** UUID version 7. */
    id: uuid().primaryKey(),
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    /** `verify`, `change`, `reset`, or a notice without a token: `change-notice`, `registration-notice`. Selects the template. */
    purpose: text().notNull(),
    /** The address that gets the email, in its normalised form; null in a decoy. For `change`, it is the new address. */
    recipient: text(),
    /** The account's epoch at the request. A token of an older epoch is invalid. */
    sessionEpoch: bigint('session_epoch', { mode: 'bigint' }).notNull().default(sql`0`),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    /** The end of the token's validity. */
    expiresAt: timestamp('expires_at', { withTimezone: true, precision: 3 }).notNull(),
    /** When the token was used. */
    usedAt: timestamp('used_at', { withTimezone: true, precision: 3 }),
    /** The end of a sender's lease, or of the wait after a failure. Rows that were never tried come first. */
    claimedUntil: timestamp('claimed_until', { withTimezone: true, precision: 3 }),
    attempts: integer().notNull().default(0),
    sentAt: timestamp('sent_at', { withTimezone: true, precision: 3 }),
    /** When the sender gave up. */
    deadAt: timestamp('dead_at', { withTimezone: true, precision: 3 }),
    /** The kind of the last failure, such as `timeout` or `550`; never the text of the mail server, which can hold the address. */
    failure: text()
  },
  (table) => [
    index('emails_user_id_idx').on(table.userId),
    index('emails_pending_idx')
      .on(table.claimedUntil.asc().nullsFirst(), table.id)
      .where(sql`sent_at is null and dead_at is null`),
    index('emails_expires_at_idx').on(table.expiresAt)
  ]
)

/** The limits on emails, for known and unknown addresses alike. */
export const emailLimits = pgTable(
  'email_limits',
  {
    /** An HMAC of purpose and canonical address, base64url, so that the row holds no address. */
    key: text().primaryKey(),
    /** The times of the last emails, the newest first, at most five. */
    sentAt: timestamp('sent_at', { withTimezone: true, precision: 3 }).array().notNull()
  },
  () => [index('email_limits_newest_idx').on(sql`(sent_at[1])`)]
)

/** Consecutive wrong passwords, for known and unknown addresses alike. An address without any has no row. */
export const guessCounts = pgTable(
  'guess_counts',
  {
    /** An HMAC of the canonical address, hexadecimal, so that the row holds no address. */
    key: text().primaryKey(),
    /** The guesses since the last correct password, the oldest first; see brute-force/guess-rows.ts. */
    guesses: text().array().notNull(),
    /** Parts of HMACs of the newest networks that have guessed, also of those that were refused; of an IPv6 network, that of its /48. */
    recentNetworks: integer('recent_networks').array().notNull().default([]),
    /** The same of an earlier version, which may run beside this one. */
    networks: text().array().notNull().default([]),
    /** Paces the first guesses of networks: the time at which the allowance of these guesses is full again. */
    pacedUntil: timestamp('paced_until', { withTimezone: true, precision: 3 }).notNull(),
    /** Changes at most once a day, so that few updates change the index. */
    expiresAt: timestamp('expires_at', { withTimezone: true, precision: 3 }).notNull()
  },
  (table) => [index('guess_counts_expires_at_idx').on(table.expiresAt)]
)

/** Secrets that the database generates for its own rows; a copy of a row is of no use without them. */
export const rowKeys = pgTable('row_keys', { name: text().primaryKey(), secret: text().notNull() })

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
  emails: { effect: 'erased', userIdColumn: 'user_id' },
  email_limits: {
    effect: 'kept',
    holdsUserId: false,
    reason:
      'a new account of the same address has the same limit; the key is an HMAC, and the row is deleted after a day'
  },
  guess_counts: {
    effect: 'kept',
    holdsUserId: false,
    reason:
      'wrong passwords count for addresses without an account, too; the key is an HMAC, and the row is deleted 400 days after the last guess'
  },
  row_keys: { effect: 'kept', holdsUserId: false, reason: 'holds no data of users' },
  topics: { effect: 'kept', holdsUserId: false, reason: 'holds no data of users' }
}
