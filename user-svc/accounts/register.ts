/** Registration: creates an account and logs it in. A rejected registration leaves neither an account nor a session. */

import { Code, ConnectError } from '@connectrpc/connect'
import { v7 as uuidv7 } from 'uuid'
import { requireFields } from '#common/errors/field-rules.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { eq } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { passwordViolation } from '../passwords/password-rules.ts'
import { users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'
import { addressTaken } from './account-errors.ts'
import type { AccountParts, LoggedIn } from './account-parts.ts'
import { createSession } from './open-session.ts'

const discardTimeoutMs = 3000
const { id, email, createdAt, emailVerifiedAt } = users
const userColumns = { id, email, createdAt, emailVerifiedAt }

interface Registration {
  email: string
  password: string
  userAgent?: string | undefined
}

/** @throws ConnectError `invalid_argument`, `already_exists` */
export async function register(parts: AccountParts, request: Registration, call: Call): Promise<LoggedIn> {
  const { db, passwords, hashQueue, sessionClient } = parts
  const { email, password } = requireValid(request, parts.minPasswordLength)
  // Cheap causes of a rejection are checked before the hash.
  await hashQueue.prepare('registration', call, () =>
    Promise.all([sessionClient.requireAvailable(call), requireFree(db, email, call)])
  )
  const passwordHash = await hashQueue.run('registration', call, () => passwords.hash(password, call.signal))
  const id = uuidv7()
  // The session comes first: its token has no effect until it is returned, whereas an account would stay.
  const opened = await createSession(sessionClient, { userId: id, epoch: 0n, userAgent: request.userAgent }, call)
  try {
    const statement = db.insert(users).values({ id, email, passwordHash, sessionEpoch: 0n }).returning(userColumns)
    const [user] = await callEngine(call.signal, statement, true)
    if (user === undefined) throw new TypeError('the insert returned no row')
    return { user, ...opened }
  } catch (error) {
    discardSession(sessionClient, opened.token, call)
    throw error instanceof ConnectError && error.code === Code.AlreadyExists ? addressTaken() : error
  }
}

function requireValid(request: Registration, minPasswordLength: number): Registration {
  const address = normalizeEmail(request.email)
  const violation = passwordViolation(request.password, address ?? '', minPasswordLength)
  const [email, password] = requireFields(
    { field: 'email', value: address, description: emailRule },
    { field: 'password', value: violation === undefined && request.password, description: violation ?? '' }
  )
  return { email, password }
}

async function requireFree(db: Database, email: string, call: Call): Promise<void> {
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
