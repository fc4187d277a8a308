/** The rules of accounts and their storage in PostgreSQL. Every write is one statement. */

import { Code, ConnectError } from '@connectrpc/connect'
import { v7 as uuidv7 } from 'uuid'
import { reasoned, reasonMetadata, unavailable } from '#common/errors/connect-errors.ts'
import { requireFields, uuidRule } from '#common/errors/field-rules.ts'
import { type Call, onwards } from '#common/rpc/call-context.ts'
import { maxCreatedEpoch, maxRevokedEpoch, revokedEpoch } from '#common/session/session-epoch.ts'
import { parseToken } from '#common/session/session-token.ts'
import { deadlineExceeded } from '#common/time/deadline.ts'
import { askEngine } from '#common/time/engine-call.ts'
import type { Session } from '#gen/session/v1/session_pb.ts'
import type { Database } from './database.ts'
import { and, eq, sql } from './drizzle.ts'
import { emailRule, normalizeEmail } from './email.ts'
import type { HashQueue } from './hash-queue.ts'
import { type Passwords, passwordViolation } from './passwords.ts'
import { outbox, users } from './schema.ts'
import type { SessionClient } from './session-client.ts'

/** What a log-in gives. */
export interface LoggedIn {
  user: { id: string; email: string; createdAt: Date }
  session: Session
  token: string
}

export type Accounts = ReturnType<typeof createAccounts>

// Revocations that a login survives: each raises the epoch between two calls of session-svc.
const maxEpochRetries = 3

type User = typeof users.$inferSelect

export interface AccountParts {
  db: Database
  passwords: Passwords
  hashQueue: HashQueue
  sessionClient: SessionClient
  minPasswordLength: number
}

export function createAccounts({ db, passwords, hashQueue, sessionClient, minPasswordLength }: AccountParts) {
  const { sessions } = sessionClient

  async function findUser(email: string, call: Call): Promise<User | undefined> {
    const rows = await askEngine(call.signal, db.select().from(users).where(eq(users.email, email)))
    return rows[0]
  }

  async function requireFree(email: string, call: Call): Promise<void> {
    const rows = await askEngine(call.signal, db.select({ id: users.id }).from(users).where(eq(users.email, email)))
    if (rows.length > 0) throw addressTaken()
  }

  /** Ends a session whose token was never given out. Nobody can use it; this only keeps it from lying around. */
  function discard(token: string, { trace, log }: Call): void {
    const options = onwards({ trace, timeoutMs: () => 3000 })
    sessions.deleteSession({ target: { case: 'token', value: token } }, options).catch((error) => {
      log.warn({ event: 'session_orphaned', err: error }, 'a session that nobody knows is left to expire')
    })
  }

  /**
   * A successful log-in replaces a hash of an old scheme, pepper or cost; if that fails, or while others wait to be
   * hashed, the next one does it.
   */
  async function renewHash(user: User, password: string, call: Call): Promise<void> {
    if (!hashQueue.isIdle()) return
    try {
      const passwordHash = await hashQueue.run('login', call, () => passwords.hash(password, call.signal))
      const unchanged = and(eq(users.id, user.id), eq(users.passwordHash, user.passwordHash))
      await askEngine(call.signal, db.update(users).set({ passwordHash }).where(unchanged), true)
    } catch (error) {
      call.log.warn({ event: 'password_rehash_failed', userId: user.id, err: error }, 'a hash could not be renewed')
    }
  }

  /**
   * Creates the session of a login whose password was right. If sessions were revoked by RPC, session-svc has a higher
   * epoch than the row: the row adopts that epoch, and the call is repeated with it, as a later login would do.
   */
  async function createSession(user: User, replacesToken: string | undefined, call: Call) {
    let epoch = user.sessionEpoch
    for (let retries = 0; ; retries += 1) {
      try {
        const request = { userId: user.id, epoch, ...(replacesToken !== undefined && { replacesToken }) }
        return await sessions.createSession(request, onwards(call))
      } catch (error) {
        const raised = reasonMetadata(error, 'session.v1', 'SESSION_EPOCH_RAISED')
        if (raised === undefined) throw error
        if (retries === maxEpochRetries)
          throw unavailable('The sessions of this account are being ended. Log in again.')
        epoch = await adoptEpoch(user, raised.lowestEpoch ?? '0', call)
      }
    }
  }

  /**
   * Raises the row's epoch, if the row still exists with the password that was checked. A revocation or deletion that
   * comes later raises the epoch again, so session-svc refuses the epoch that this returns.
   */
  async function adoptEpoch(user: User, lowestEpoch: string, call: Call): Promise<bigint> {
    const statement = db.execute<{ session_epoch: string | null }>(sql`
      with adopted as (
        update ${users} set session_epoch = greatest(session_epoch, ${lowestEpoch}::bigint)
        where id = ${user.id} and password_hash = ${user.passwordHash} returning session_epoch)
      select (select session_epoch from adopted) from ${users} where id = ${user.id}`)
    const [row] = (await askEngine(call.signal, statement, true)).rows
    if (row === undefined) throw credentialsRejected()
    if (row.session_epoch === null) throw unavailable('The password of this account was just changed. Log in again.')
    return BigInt(row.session_epoch)
  }

  return {
    /** @throws ConnectError `invalid_argument`, `already_exists` */
    async register(request: { email: string; password: string }, call: Call): Promise<LoggedIn> {
      const email = normalizeEmail(request.email)
      const problem = passwordViolation(request.password, email ?? '', minPasswordLength)
      requireFields(
        { field: 'email', value: email !== undefined, description: emailRule },
        { field: 'password', value: problem === undefined, description: problem ?? '' }
      )
      const address = email as string
      // What would refuse the registration anyway is asked before the expensive part.
      await hashQueue.prepare('registration', call, () =>
        Promise.all([sessionClient.requireAvailable(call), requireFree(address, call)])
      )
      const passwordHash = await hashQueue.run('registration', call, () =>
        passwords.hash(request.password, call.signal)
      )
      const id = uuidv7()
      const { session, token } = await sessions.createSession({ userId: id, epoch: 0n }, onwards(call))
      try {
        const row = { id, email: address, passwordHash, sessionEpoch: 0n }
        const statement = db.insert(users).values(row).returning({ createdAt: users.createdAt })
        const [inserted] = await askEngine(call.signal, statement, true)
        const { createdAt } = inserted as { createdAt: Date }
        return { user: { id, email: address, createdAt }, session: session as Session, token }
      } catch (error) {
        discard(token, call)
        throw error instanceof ConnectError && error.code === Code.AlreadyExists ? addressTaken() : error
      }
    },

    /** @throws ConnectError `unauthenticated` CREDENTIALS_REJECTED for a wrong address or password alike */
    async authenticate(
      request: { email: string; password: string; replacesToken?: string | undefined },
      call: Call
    ): Promise<LoggedIn> {
      const startedAt = performance.now()
      const email = normalizeEmail(request.email)
      requireFields({ field: 'email', value: email !== undefined, description: emailRule })
      const [user] = await hashQueue.prepare('login', call, () =>
        Promise.all([findUser(email as string, call), sessionClient.requireAvailable(call)])
      )
      const { matches, stale } = await hashQueue.run('login', call, () =>
        passwords.check(request.password, user?.passwordHash, call.signal)
      )
      if (user === undefined || !matches) {
        // While no session can be created, each login is 503, also with a wrong password.
        await sessionClient.requireAvailable(call, performance.now() - startedAt)
        const fields = { event: 'authn_login_fail', ...(user && { userId: user.id }) }
        call.log.info(fields, 'refused a log-in')
        throw credentialsRejected()
      }
      const created = await createSession(user, request.replacesToken, call)
      if (stale) await renewHash(user, request.password, call)
      return { user, session: created.session as Session, token: created.token }
    },

    /** Ends the session of a token. Needs no database. */
    async logout(token: string, call: Call): Promise<void> {
      const holds = parseToken(token) !== undefined
      requireFields({ field: 'token', value: holds, description: 'must be a session token' })
      await sessions.deleteSession({ target: { case: 'token', value: token } }, onwards(call))
    },

    /** Deletes the account, then ends its sessions. Asking again completes what was interrupted. */
    async deleteAccount(userId: string, call: Call): Promise<void> {
      requireFields(uuidRule('user_id', userId))
      const deletion = db.execute<{ session_epoch: string }>(sql`
        with gone as (delete from ${users} where ${users.id} = ${userId} returning id, session_epoch)
        insert into ${outbox} (type, user_id, session_epoch)
        select 'user.deleted', id, least(session_epoch, ${String(maxCreatedEpoch)}::bigint) + 1 from gone
        returning session_epoch`)
      const [deleted] = (await askEngine(call.signal, deletion, true)).rows
      const epoch = deleted ? BigInt(deleted.session_epoch) : await epochOfDeleted(userId, call)
      // A database that was restored from an older backup does not know the account: no counted epoch is that high.
      const revocation = { userId, epoch: revokedEpoch(epoch ?? maxRevokedEpoch), all: true }
      await sessions.deleteUserSessions(revocation, onwards(call)).catch((error) => {
        // The row is gone, so nobody may be told that it was certainly not done.
        throw ConnectError.from(error).code === Code.Unavailable ? deadlineExceeded() : error
      })
    }
  }

  async function epochOfDeleted(userId: string, call: Call): Promise<bigint | undefined> {
    const ofUser = and(eq(outbox.userId, userId), eq(outbox.type, 'user.deleted'))
    const rows = await askEngine(call.signal, db.select({ epoch: outbox.sessionEpoch }).from(outbox).where(ofUser))
    return rows[0]?.epoch
  }
}

function addressTaken(): ConnectError {
  const sentence = 'An account with this address exists.'
  return reasoned(Code.AlreadyExists, sentence, { domain: 'user.v1', reason: 'ADDRESS_TAKEN' })
}

function credentialsRejected(): ConnectError {
  const sentence = 'The address or the password is wrong.'
  return reasoned(Code.Unauthenticated, sentence, { domain: 'user.v1', reason: 'CREDENTIALS_REJECTED' })
}
