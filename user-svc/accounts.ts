/** The rules of accounts and their storage in PostgreSQL. Every write is one statement. */

import { Code, ConnectError } from '@connectrpc/connect'
import { and, eq, sql } from 'drizzle-orm'
import { v7 as uuidv7 } from 'uuid'
import { deadlineExceeded } from '#common/deadline.ts'
import { askEngine } from '#common/engine-call.ts'
import { reasoned, reasonMetadata, unavailable } from '#common/errors.ts'
import { requireFields, uuidRule } from '#common/fields.ts'
import { type Call, onwards } from '#common/rpc-context.ts'
import { parseToken } from '#common/token.ts'
import type { Session } from '#gen/session/v1/session_pb.ts'
import type { Database } from './database.ts'
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

// For sessions of an account that the database does not know, as after it was restored from an older backup: above
// every epoch that is reached by counting, and below the highest that there can be.
const beyondCounting = 2n ** 52n

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
    const options = onwards({ trace, signal: AbortSignal.timeout(3000), timeoutMs: () => 3000 })
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
   * The account's sessions were revoked after its row had been read. If the account is gone, so is the right
   * to log in. Otherwise this log-in fails and the next one succeeds, with what is true by then: should
   * session-svc know a higher epoch than the row (a database restored from a backup), the row takes that over.
   */
  async function afterRevocation(user: User, lowestEpoch: string, call: Call): Promise<ConnectError> {
    const sessionEpoch = sql`greatest(${users.sessionEpoch}, ${lowestEpoch}::bigint)`
    const statement = db.update(users).set({ sessionEpoch }).where(eq(users.id, user.id)).returning({ id: users.id })
    const updated = await askEngine(call.signal, statement, true)
    return updated.length > 0
      ? unavailable('The sessions of this account were just ended. Log in again.')
      : credentialsRejected()
  }

  return {
    /** @throws ConnectError `invalid_argument`, `already_exists` */
    async register(request: { email: string; password: string }, call: Call): Promise<LoggedIn> {
      const email = normalizeEmail(request.email)
      const problem = passwordViolation(request.password, email ?? '', minPasswordLength)
      requireFields(
        { field: 'email', holds: email !== undefined, description: emailRule },
        { field: 'password', holds: problem === undefined, description: problem ?? '' }
      )
      const address = email as string
      // What would refuse the registration anyway is asked before the expensive part.
      await hashQueue.prepare('registration', call, (waitMs) =>
        Promise.all([sessionClient.requireAvailable(call, waitMs), requireFree(address, call)])
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
      const email = normalizeEmail(request.email)
      requireFields({ field: 'email', holds: email !== undefined, description: emailRule })
      const [user] = await hashQueue.prepare('login', call, (waitMs) =>
        Promise.all([findUser(email as string, call), sessionClient.requireAvailable(call, waitMs)])
      )
      const { matches, stale } = await hashQueue.run('login', call, () =>
        passwords.check(request.password, user?.passwordHash, call.signal)
      )
      if (user === undefined || !matches) {
        const fields = { event: 'authn_login_fail', ...(user && { userId: user.id }) }
        call.log.info(fields, 'refused a log-in')
        throw credentialsRejected()
      }
      const { replacesToken } = request
      const created = await sessions
        .createSession(
          { userId: user.id, epoch: user.sessionEpoch, ...(replacesToken !== undefined && { replacesToken }) },
          onwards(call)
        )
        .catch(async (error) => {
          const raised = reasonMetadata(error, 'session.v1', 'SESSION_EPOCH_RAISED')
          throw raised ? await afterRevocation(user, raised.lowestEpoch ?? '0', call) : error
        })
      if (stale) await renewHash(user, request.password, call)
      return { user, session: created.session as Session, token: created.token }
    },

    /** Ends the session of a token. Needs no database. */
    async logout(token: string, call: Call): Promise<void> {
      const holds = parseToken(token) !== undefined
      requireFields({ field: 'token', holds, description: 'must be a session token' })
      await sessions.deleteSession({ target: { case: 'token', value: token } }, onwards(call))
    },

    /** Deletes the account, then ends its sessions. Asking again completes what was interrupted. */
    async deleteAccount(userId: string, call: Call): Promise<void> {
      requireFields(uuidRule('user_id', userId))
      const deletion = db.execute<{ session_epoch: string }>(sql`
        with gone as (delete from ${users} where ${users.id} = ${userId} returning id, session_epoch)
        insert into ${outbox} (type, user_id, session_epoch)
        select 'user.deleted', id, session_epoch + 1 from gone
        returning session_epoch`)
      const [deleted] = (await askEngine(call.signal, deletion, true)).rows
      const epoch = deleted ? BigInt(deleted.session_epoch) : await epochOfDeleted(userId, call)
      await sessions.deleteUserSessions({ userId, epoch: epoch ?? beyondCounting }, onwards(call)).catch((error) => {
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
