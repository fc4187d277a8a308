/** Creation of an account by an operator, without a session. */

import { Code, ConnectError } from '@connectrpc/connect'
import { v7 as uuidv7 } from 'uuid'
import { type FieldRule, requireFields } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { addressTaken } from '../accounts/account-errors.ts'
import type { AccountParts, User } from '../accounts/account-parts.ts'
import { requireFree } from '../accounts/register.ts'
import { sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import { outbox, users } from '../schema.ts'

interface NewUser {
  email: string
  password?: string | undefined
  emailVerified: boolean
}

/** @throws ConnectError `invalid_argument`, `already_exists` ADDRESS_TAKEN */
export async function createUser(parts: AccountParts, request: NewUser, call: Call): Promise<User> {
  const { db, passwords, hashQueue, passwordRules } = parts
  const address = normalizeEmail(request.email)
  const withoutPassword: FieldRule<string> = { field: 'password', value: noPassword, description: '' }
  const [email, password] = requireFields(
    { field: 'email', value: address, description: emailRule },
    request.password === undefined
      ? withoutPassword
      : await passwordRules.newPassword('password', request.password, address ?? '')
  )
  if (request.password === undefined) return insertUser(parts, { email, passwordHash: noPassword }, request, call)
  await hashQueue.prepare('registration', call, () => requireFree(db, email, call))
  const passwordHash = await hashQueue.run('registration', call, () => passwords.hash(password, call.signal))
  return insertUser(parts, { email, passwordHash }, request, call)
}

async function insertUser(
  { db }: Pick<AccountParts, 'db'>,
  { email, passwordHash }: Pick<User, 'email' | 'passwordHash'>,
  { emailVerified }: NewUser,
  call: Call
): Promise<User> {
  const id = uuidv7()
  const statement = db.execute<{ created_at: Date; email_verified_at: Date | null }>(sql`
    with created as (
      insert into ${users} (id, email, password_hash, session_epoch, email_verified_at)
      values (${id}, ${email}, ${passwordHash}, 0, case when ${emailVerified}::boolean then now() end)
      returning id, created_at, email_verified_at),
    events as (
      insert into ${outbox} (type, user_id)
      select type, id from created
      cross join (values ('user.created', true), ('user.email_verified', ${emailVerified}::boolean)) as event (type, applies)
      where applies)
    select created_at, email_verified_at from created`)
  try {
    const [row] = (await callEngine(call.signal, statement, true)).rows
    if (row === undefined) throw new TypeError('the insert returned no row')
    const times = { createdAt: new Date(row.created_at), emailVerifiedAt: dateOf(row.email_verified_at) }
    return { id, email, passwordHash, sessionEpoch: 0n, disabledAt: null, ...times }
  } catch (error) {
    throw error instanceof ConnectError && error.code === Code.AlreadyExists ? addressTaken() : error
  }
}

const dateOf = (time: Date | null) => (time === null ? null : new Date(time))
