/** Change of a password by its owner: ends every session of the account, and creates a new one. */

import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { type PasswordRules, unchangedPassword } from '../passwords/password-rules.ts'
import { outbox, users } from '../schema.ts'
import { wrongPassword } from './account-errors.ts'
import type { AccountParts, ClientOrigin, DeviceSession, User } from './account-parts.ts'
import { beforeAccount, guessOf, inQueue, requirePassword, withDevice } from './check-password.ts'
import { afterStatement, endSessions, raisedEpoch } from './end-sessions.ts'
import { requireAccount } from './get-account.ts'
import { openSession } from './open-session.ts'

interface PasswordChange {
  userId: string
  currentPassword: string
  newPassword: string
  userAgent?: string | undefined
  client?: ClientOrigin | undefined
}

const failed = 'authn_password_change_fail'

/**
 * @throws ConnectError `invalid_argument`; `permission_denied` WRONG_PASSWORD or ACCOUNT_DISABLED; `not_found`
 *   ACCOUNT_NOT_FOUND; after the change never `unavailable`
 */
export async function changePassword(parts: AccountParts, request: PasswordChange, call: Call): Promise<DeviceSession> {
  const { db, passwords, hashQueue, guesses, sessionClient } = parts
  const { userId, currentPassword, newPassword } = request
  requireFields(uuidRule('user_id', userId), await passwordRule(request, '', parts.passwordRules))
  const account = await hashQueue.prepare('login', beforeAccount(parts, call, request.client), async () => {
    const [user] = await Promise.all([requireAccount(db, userId, call), sessionClient.requireAvailable(call)])
    requireFields(await passwordRule(request, user.email, parts.passwordRules))
    return { user, guess: await guesses.reserve(guessOf(parts, { email: user.email, user }, request.client), call) }
  })
  const { user, guess } = account
  await requirePassword(parts, account, currentPassword, failed, call)
  const passwordHash = await hashQueue.run('login', inQueue(parts, call, guess), () =>
    passwords.hash(newPassword, call.signal)
  )
  const epoch = await replaceHash(db, user, passwordHash, call)
  if (epoch === undefined) {
    call.log.info({ event: failed, userId }, 'rejected a password that was changed meanwhile')
    throw wrongPassword('The password was changed meanwhile.')
  }
  await endSessions(parts, { userId, epoch }, call)
  const changed = { id: userId, passwordHash, sessionEpoch: epoch }
  const opened = await afterStatement(openSession(parts, changed, call, { userAgent: request.userAgent }))
  return withDevice(parts, userId, opened, request.client)
}

async function passwordRule({ currentPassword, newPassword }: PasswordChange, email: string, rules: PasswordRules) {
  const field = 'new_password'
  const isSame = newPassword.normalize('NFC') === currentPassword.normalize('NFC')
  return isSame ? unchangedPassword(field) : rules.newPassword(field, newPassword, email)
}

/** @returns the raised session epoch, or nothing if the hash is no longer the one that was checked */
async function replaceHash(
  db: Database,
  { id, passwordHash: checked }: User,
  passwordHash: string,
  call: Call
): Promise<bigint | undefined> {
  const statement = db.execute<{ session_epoch: string }>(sql`
    with changed as (
      update ${users} set password_hash = ${passwordHash}, session_epoch = ${raisedEpoch}
      where id = ${id} and password_hash = ${checked} and disabled_at is null
      returning id, session_epoch)
    insert into ${outbox} (type, user_id, session_epoch, payload)
    select 'user.password_changed', id, session_epoch, '{"reset": false}' from changed
    returning session_epoch`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  return row && BigInt(row.session_epoch)
}
