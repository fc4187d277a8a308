/** Login by password. Neither the response nor its time shows whether the address or the password was wrong. */

import { requireFields } from '#common/errors/field-rules.ts'
import type { Call } from '#common/rpc/call-context.ts'
import { callEngine } from '#common/time/engine-call.ts'
import type { Database } from '../database.ts'
import { and, eq } from '../drizzle.ts'
import { emailRule, normalizeEmail } from '../email.ts'
import { users } from '../schema.ts'
import { accountDisabled, credentialsRejected, emailNotVerified } from './account-errors.ts'
import type { AccountParts, ClientOrigin, LoggedIn, User } from './account-parts.ts'
import { beforeAccount, checkPassword, guessOf, refusal, withDevice } from './check-password.ts'
import { openSession } from './open-session.ts'

interface LoginRequest {
  email: string
  password: string
  /** The token of a session that ends when the new one is created. */
  replacesToken?: string | undefined
  userAgent?: string | undefined
  client?: ClientOrigin | undefined
}

/**
 * @throws ConnectError `unauthenticated` CREDENTIALS_REJECTED for a wrong address and a wrong password alike;
 *   `permission_denied` ACCOUNT_DISABLED or EMAIL_NOT_VERIFIED after a correct password. With `concealTaken`, an account that
 *   is not verified counts as unknown: otherwise a login with the password of a registration would show whether that
 *   registration created the account
 */
export async function logIn(parts: AccountParts, request: LoginRequest, call: Call): Promise<LoggedIn> {
  const { db, hashQueue, guesses, sessionClient } = parts
  const startedAt = performance.now()
  const [email] = requireFields({ field: 'email', value: normalizeEmail(request.email), description: emailRule })
  const { found, user, guess } = await hashQueue.prepare(
    'login',
    beforeAccount(parts, call, request.client),
    async () => {
      const [found] = await Promise.all([findUser(db, email, call), sessionClient.requireAvailable(call)])
      const user = parts.concealTaken && found?.emailVerifiedAt === null ? undefined : found
      return {
        found,
        user,
        guess: await guesses.reserve(guessOf(parts, { email, user, userId: found?.id }, request.client), call)
      }
    }
  )
  const { matches, stale } = await checkPassword(parts, guess, request.password, call)
  if (user === undefined || !matches) {
    // While no session can be created, every login is 503, also with a wrong password.
    await sessionClient.requireAvailable(call, performance.now() - startedAt)
    const isUnverified = found !== undefined && user === undefined
    const line = {
      event: 'authn_login_fail',
      ...(found && { userId: found.id }),
      ...(isUnverified && { reason: 'unverified' }),
      ...refusal(guess)
    }
    call.log.info(line, 'rejected a login')
    throw credentialsRejected()
  }
  requireUsable(user, parts.requireVerifiedEmail, call)
  const { replacesToken, userAgent } = request
  const opened = await openSession(parts, user, call, { replacesToken, userAgent })
  if (stale) await renewHash(parts, user, request.password, call)
  return { user, ...withDevice(parts, user.id, opened, request.client) }
}

/** The checks that follow a correct password. */
function requireUsable({ id, disabledAt, emailVerifiedAt }: User, requireVerifiedEmail: boolean, { log }: Call): void {
  const isUnverified = requireVerifiedEmail && emailVerifiedAt === null
  if (disabledAt === null && !isUnverified) return
  log.info({ event: 'authn_login_fail', userId: id }, 'rejected a login of an unusable account')
  throw disabledAt === null ? emailNotVerified() : accountDisabled()
}

async function findUser(db: Database, email: string, call: Call): Promise<User | undefined> {
  const [user] = await callEngine(call.signal, db.select().from(users).where(eq(users.email, email)))
  return user
}

/**
 * Replaces a hash of an old scheme, pepper or cost by one of the same password. After a failure, or while the hash queue
 * is busy, the next login does it.
 */
async function renewHash(parts: AccountParts, user: User, password: string, call: Call): Promise<void> {
  const { db, passwords, hashQueue } = parts
  if (!hashQueue.hasFreeSlot()) return
  try {
    const passwordHash = await hashQueue.run('login', call, () => passwords.hash(password, call.signal))
    const isUnchanged = and(eq(users.id, user.id), eq(users.passwordHash, user.passwordHash))
    await callEngine(call.signal, db.update(users).set({ passwordHash }).where(isUnchanged), true)
  } catch (error) {
    call.log.warn({ event: 'password_rehash_failed', userId: user.id, err: error }, 'failed to renew a password hash')
  }
}
