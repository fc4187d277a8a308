/** Reads an account by its id. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq } from '../drizzle.ts'
import { users } from '../schema.ts'
import { accountNotFound } from './account-errors.ts'
import type { AccountParts, ShownUser, User } from './account-parts.ts'

/** @throws ConnectError `not_found` ACCOUNT_NOT_FOUND */
export async function requireAccount(db: Database, userId: string, call: Call): Promise<User> {
  const [user] = await callEngine(call.signal, db.select().from(users).where(eq(users.id, userId)))
  if (user === undefined) throw accountNotFound()
  return user
}

/** @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND */
export async function getAccount({ db }: Pick<AccountParts, 'db'>, userId: string, call: Call): Promise<ShownUser> {
  requireFields(uuidRule('user_id', userId))
  return requireAccount(db, userId, call)
}
