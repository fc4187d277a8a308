/** Opens a session after the credentials of an account were checked; a later revocation or deletion ends it. */

import { reasonMetadata, unavailable } from '#common/errors/connect-errors.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { sql } from '../drizzle.ts'
import { users } from '../schema.ts'
import type { SessionClient } from '../session-client.ts'
import { credentialsRejected } from './account-errors.ts'
import type { AccountParts, OpenedSession, User } from './account-parts.ts'

// Concurrent revocations that a login survives: each raises the epoch between two calls of session-svc.
const maxEpochRetries = 3

interface CreateSessionRequest {
  userId: string
  epoch: bigint
  /** The token of a session that ends when the new one is created. */
  replacesToken?: string | undefined
}

/**
 * After a revocation by RPC, session-svc has a higher epoch than the row. The row then adopts that epoch, and the call is
 * repeated with it, as a later login would do.
 *
 * @param user the row that the password was checked against
 * @throws ConnectError `unauthenticated` CREDENTIALS_REJECTED if the account was deleted meanwhile; `unavailable`
 */
export async function openSession(
  { db, sessionClient }: Pick<AccountParts, 'db' | 'sessionClient'>,
  user: Pick<User, 'id' | 'passwordHash' | 'sessionEpoch'>,
  call: Call,
  replacesToken?: string
): Promise<OpenedSession> {
  let epoch = user.sessionEpoch
  for (let retries = 0; ; retries += 1) {
    try {
      return await createSession(sessionClient, { userId: user.id, epoch, replacesToken }, call)
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
  { replacesToken, ...request }: CreateSessionRequest,
  call: Call
): Promise<OpenedSession> {
  const optional = replacesToken !== undefined && { replacesToken }
  const { session, token } = await sessions.createSession({ ...request, ...optional }, propagate(call))
  if (session === undefined) throw new TypeError('session-svc returned no session')
  return { session, token }
}

/**
 * Raises the row's epoch if the row still exists with the password that was checked. A later revocation or deletion
 * raises the epoch again, so session-svc then rejects the epoch that this returns.
 */
async function adoptEpoch(
  db: Database,
  { id, passwordHash }: Pick<User, 'id' | 'passwordHash'>,
  lowestEpoch: string,
  call: Call
): Promise<bigint> {
  const statement = db.execute<{ session_epoch: string | null }>(sql`
    with adopted as (
      update ${users} set session_epoch = greatest(session_epoch, ${lowestEpoch}::bigint)
      where id = ${id} and password_hash = ${passwordHash} returning session_epoch)
    select (select session_epoch from adopted) from ${users} where id = ${id}`)
  const [row] = (await callEngine(call.signal, statement, true)).rows
  if (row === undefined) throw credentialsRejected()
  if (row.session_epoch === null) throw unavailable('The password of this account was just changed. Log in again.')
  return BigInt(row.session_epoch)
}
