/** Registration: creates an account and logs it in. A rejected registration leaves neither an account nor a session. */

import { Code, ConnectError } from '@connectrpc/connect'
import { v7 as uuidv7 } from 'uuid'
import { requireFields } from '#common/errors/field-rules.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq, sql } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { countEmail, insertEmail } from '../mail/email-requests.ts'
import { outbox, users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'
import { addressTaken } from './account-errors.ts'
import type { AccountParts, ClientOrigin, LoggedIn, MailParts, ShownUser, User } from './account-parts.ts'
import { withDevice, withoutAccount } from './check-password.ts'
import { createSession } from './open-session.ts'

const discardTimeoutMs = 3000

export interface Registration {
  email: string
  password: string
  userAgent?: string | undefined
  client?: ClientOrigin | undefined
}

/** @throws ConnectError `invalid_argument`, `already_exists` */
export async function register(parts: AccountParts, request: Registration, call: Call): Promise<LoggedIn> {
  const { db, passwords, hashQueue, sessionClient } = parts
  const { email, password } = await requireValid(request, parts)
  // Cheap causes of a rejection are checked before the hash.
  const queued = withoutAccount(parts, call, request.client)
  await hashQueue.prepare('registration', queued, () =>
    Promise.all([sessionClient.requireAvailable(call), requireFree(db, email, call)])
  )
  const passwordHash = await hashQueue.run('registration', queued, () => passwords.hash(password, call.signal))
  const id = uuidv7()
  // The session comes first: its token has no effect until it is returned, whereas an account would stay.
  const opened = await createSession(sessionClient, { userId: id, epoch: 0n, userAgent: request.userAgent }, call)
  try {
    const user = await insertAccount(parts, { id, email, passwordHash }, call)
    return { user, ...withDevice(parts, id, opened, request.client) }
  } catch (error) {
    discardSession(sessionClient, opened.token, call)
    throw error instanceof ConnectError && error.code === Code.AlreadyExists ? addressTaken() : error
  }
}

/** Inserts the account, its event, and the email that verifies its address unless the limits of the address forbid it. */
async function insertAccount(
  { db, mail }: Pick<AccountParts, 'db' | 'mail'>,
  { id, email, passwordHash }: Pick<User, 'id' | 'email' | 'passwordHash'>,
  call: Call
): Promise<ShownUser> {
  const emailed = mail === undefined ? sql`` : sql`, ${verificationOf(mail, email)}`
  const statement = db.execute<{ created_at: string }>(sql`
    with created as (
      insert into ${users} (id, email, password_hash, session_epoch) values (${id}, ${email}, ${passwordHash}, 0)
      returning id, email, created_at),
    event as (insert into ${outbox} (type, user_id) select 'user.created', id from created)${emailed}
    select created_at from created`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw new TypeError('the insert returned no row')
  return { id, email, createdAt: new Date(row.created_at), emailVerifiedAt: null }
}

/** The email of an account in the item `created` of a WITH clause. */
function verificationOf(mail: MailParts, address: string) {
  const row = {
    userId: sql`created.id`,
    recipient: sql`created.email`,
    epoch: sql`0`,
    source: sql`created cross join counted`
  }
  return sql`
    counted as (${countEmail(mail, { purpose: 'verify', address, source: sql`created` })}),
    emailed as (${insertEmail('verify', row)})`
}

/** @throws ConnectError `invalid_argument` */
export async function requireValid(request: Registration, { passwordRules }: Pick<AccountParts, 'passwordRules'>) {
  const address = normalizeEmail(request.email)
  const [email, password] = requireFields(
    { field: 'email', value: address, description: emailRule },
    await passwordRules.newPassword('password', request.password, address ?? '')
  )
  return { email, password }
}

/** @throws ConnectError `already_exists` ADDRESS_TAKEN */
export async function requireFree(db: Database, email: string, call: Call): Promise<void> {
  const rows = await callEngine(call.signal, db.select({ id: users.id }).from(users).where(eq(users.email, email)))
  if (rows.length > 0) throw addressTaken()
}

/** Ends the session of a failed registration. Its token was never returned, so this only frees its memory earlier. */
function discardSession({ sessions }: SessionClient, token: string, { trace, log }: Call): void {
  const options = propagate({ trace, timeoutMs: () => discardTimeoutMs })
  sessions.deleteSession({ target: { case: 'token', value: token } }, options).catch((error) => {
    log.warn({ event: 'session_orphaned', err: error }, 'failed to delete an orphaned session')
  })
}
