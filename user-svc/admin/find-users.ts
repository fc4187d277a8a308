/** Finds accounts for operators: one by its id or address, or pages of those whose address has a prefix. */

import { type FieldRule, requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { GetUserRequest } from '#gen/admin/v1/admin_pb.ts'
import { accountNotFound } from '../accounts/account-errors.ts'
import type { AccountParts, User } from '../accounts/account-parts.ts'
import { requireAccount } from '../accounts/get-account.ts'
import type { Database } from '../database.ts'
import { eq, sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { users } from '../schema.ts'

const defaultPageSize = 50
const maxPageSize = 100
// Every address consists of visible ASCII characters, so each is below its start with this one behind.
const aboveAscii = '\x7f'

/** @throws ConnectError `invalid_argument`, `not_found` ACCOUNT_NOT_FOUND */
export async function getUser({ db }: Pick<AccountParts, 'db'>, key: GetUserRequest['key'], call: Call): Promise<User> {
  if (key.case === 'userId') {
    const [userId] = requireFields(uuidRule('user_id', key.value))
    return requireAccount(db, userId, call)
  }
  const isMissing = key.case === undefined
  const description = isMissing ? 'must be given, or an address' : emailRule
  const [email] = requireFields({
    field: isMissing ? 'user_id' : 'email',
    value: key.case === 'email' && normalizeEmail(key.value),
    description,
    code: isMissing ? 'required' : undefined
  })
  const [user] = await callEngine(call.signal, db.select().from(users).where(eq(users.email, email)))
  if (user === undefined) throw accountNotFound()
  return user
}

interface Search {
  emailPrefix: string
  pageSize: number
  pageToken: string
}

/** The order is that of the bytes, whatever the collation of the database. @throws ConnectError `invalid_argument` */
export async function findUsers(
  { db }: Pick<AccountParts, 'db'>,
  { emailPrefix, pageSize, pageToken }: Search,
  call: Call
): Promise<{ users: User[]; nextPageToken: string }> {
  const [prefix, size, after] = requireFields(
    prefixRule(emailPrefix),
    pageSizeRule(pageSize),
    pageTokenRule(pageToken, emailPrefix.toLowerCase())
  )
  const rows = await callEngine(call.signal, selectPage(db, prefix.text, after.text, size + 1))
  const page = rows.slice(0, size)
  const last = rows.length > size ? page.at(-1) : undefined
  return { users: page, nextPageToken: last === undefined ? '' : Buffer.from(last.email).toString('base64url') }
}

/** The statement of a page, which reads `limit` entries of the index `users_email_prefix_idx`. */
export function selectPage(db: Database, prefix: string, after: string, limit: number) {
  const { email } = users
  return db
    .select()
    .from(users)
    .where(sql`${email} ~>=~ ${prefix} and ${email} ~<~ ${prefix + aboveAscii} and ${email} ~>~ ${after}`)
    .orderBy(sql`${email} using ~<~`)
    .limit(limit)
}

/** The texts are in objects, because an empty text is a value. */
function prefixRule(written: string): FieldRule<{ text: string }> {
  const isValid = /^[\x21-\x7e]{0,254}$/.test(written)
  const description = 'must be at most 254 visible ASCII characters'
  return { field: 'email_prefix', value: isValid && { text: written.toLowerCase() }, description }
}

function pageSizeRule(written: number): FieldRule<number> {
  const size = written === 0 ? defaultPageSize : written
  return {
    field: 'page_size',
    value: size >= 1 && size <= maxPageSize && size,
    description: `must be 1 to ${maxPageSize}, or 0 for ${defaultPageSize}`
  }
}

/** A token is the last address of its page, so an address that is deleted meanwhile loses no other one. */
function pageTokenRule(written: string, prefix: string): FieldRule<{ text: string }> {
  const address = Buffer.from(written, 'base64url').toString()
  const isCanonical = Buffer.from(address).toString('base64url') === written
  const isValid = written === '' || (isCanonical && normalizeEmail(address) === address && address.startsWith(prefix))
  const description = 'must be the `next_page_token` of a response for the same prefix'
  return { field: 'page_token', value: isValid && { text: address }, description }
}
