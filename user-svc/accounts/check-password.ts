/** Checks the password of an account in the hash queue. An account without a password costs the same work as any other. */

import type { Call } from '#common/rpc/call-context.ts'
import { noPassword } from '../passwords/stored-hash.ts'
import { accountDisabled, wrongPassword } from './account-errors.ts'
import type { AccountParts, User } from './account-parts.ts'

type HashParts = Pick<AccountParts, 'passwords' | 'hashQueue'>

/** @returns whether the password matches, and whether the stored hash should be renewed */
export function checkPassword(
  { passwords, hashQueue }: HashParts,
  user: Pick<User, 'passwordHash'> | undefined,
  written: string,
  call: Call
): Promise<{ matches: boolean; stale: boolean }> {
  const stored = user?.passwordHash === noPassword ? undefined : user?.passwordHash
  return hashQueue.run('login', call, () => passwords.check(written, stored, call.signal))
}

/**
 * Requires the password of an account that the caller acts for.
 *
 * @param event names the log line of a rejection
 * @throws ConnectError `permission_denied` WRONG_PASSWORD, or ACCOUNT_DISABLED after a correct password
 */
export async function requirePassword(
  parts: HashParts,
  user: User,
  written: string,
  event: string,
  call: Call
): Promise<void> {
  const { matches } = await checkPassword(parts, user, written, call)
  if (matches && user.disabledAt === null) return
  call.log.info({ event, userId: user.id }, 'rejected a password')
  throw matches ? accountDisabled() : wrongPassword()
}
