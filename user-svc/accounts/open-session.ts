/** Opens a session after the credentials of an account were checked; a later revocation or deletion ends it. */

import { reasonMetadata, unavailable } from '#common/errors/connect-errors.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'
import { accountDisabled, credentialsRejected } from './account-errors.ts'
import type { AccountParts, OpenedSession, User } from './account-parts.ts'

// Concurrent revocations that a login survives: each raises the epoch between two calls of session-svc.
const maxEpochRetries = 3

/** What a client's request adds to its session. */
interface SessionOrigin {
  /** The token of a session that ends when the new one is created. */
  replacesToken?: string | undefined
  /** The `User-Agent` of the client. */
  userAgent?: string | undefined
}

interface CreateSessionRequest extends SessionOrigin {
  userId: string
  epoch: bigint
}

/**
 * After a revocation by RPC, session-svc has a higher epoch than the row. The row then adopts that epoch, and the call is
 * repeated with it, as a later login would do.
 *
 * @param user the row that the password was checked against
 * @throws ConnectError `unauthenticated` CREDENTIALS_REJECTED if the account was deleted meanwhile; `permission_denied`
 *   ACCOUNT_DISABLED if it was disabled meanwhile; `unavailable`
 */
export async function openSession(
  { db, sessionClient }: Pick<AccountParts, 'db' | 'sessionClient'>,
  user: Pick<User, 'id' | 'passwordHash' | 'sessionEpoch'>,
  call: Call,
  origin: SessionOrigin
): Promise<OpenedSession> {
  let epoch = user.sessionEpoch
  for (let retries = 0; ; retries += 1) {
    try {
      return await createSession(sessionClient, { ...origin, userId: user.id, epoch }, call)
    } catch (error) {
      const raised = reasonMetadata(error, 'session.v1', 'SESSION_EPOCH_RAISED')
      if (raised === undefined) throw error
      if (retries === maxEpochRetries) throw unavailable('The sessions of this account are being ended. Log in again.')
      epoch = await adoptEpoch(db, user, raised.lowestEpoch ?? '0', call)
    }
  }
}

/** Creates a session with an epoch that the caller has read or chosen. */
export async function createSession(
  { sessions }: Pick<SessionClient, 'sessions'>,
  { userId, epoch, replacesToken, userAgent }: CreateSessionRequest,
  call: Call
): Promise<OpenedSession> {
  const origin = {
    ...(replacesToken !== undefined && { replacesToken }),
    ...(userAgent !== undefined && { userAgent })
  }
  const { session, token } = await sessions.createSession({ userId, epoch, ...origin }, propagate(call))
  if (session === undefined) throw new TypeError('session-svc returned no session')
  return { session, token, epoch }
}

/**
 * Raises the row's epoch if the row still exists with the password that was checked, and is not disabled. A later
 * revocation or deletion raises the epoch again, so session-svc then rejects the epoch that this returns.
 */
async function adoptEpoch(
  db: Database,
  { id, passwordHash }: Pick<User, 'id' | 'passwordHash'>,
  lowestEpoch: string,
  call: Call
): Promise<bigint> {
  const statement = db.execute<{ session_epoch: string | null; disabled: boolean }>(sql`
    with adopted as (
      update ${users} set session_epoch = greatest(session_epoch, ${lowestEpoch}::bigint)
      where id = ${id} and password_hash = ${passwordHash} and disabled_at is null returning session_epoch)
    select (select session_epoch from adopted), disabled_at is not null as disabled from ${users} where id = ${id}`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw credentialsRejected()
  if (row.disabled) throw accountDisabled()
  if (row.session_epoch === null) throw unavailable('The password of this account was just changed. Log in again.')
  return BigInt(row.session_epoch)
}
