/** Logout: ends the session of a token, without PostgreSQL. */

import { requireFields } from '#common/errors/field-rules.ts'
import { type Call, propagate } from '#common/rpc/call-context.ts'
import { parseToken } from '#common/session/session-token.ts'
import type { AccountParts } from './account-parts.ts'

/** @throws ConnectError `invalid_argument` for a malformed token */
export async function logOut(
  { sessionClient }: Pick<AccountParts, 'sessionClient'>,
  token: string,
  call: Call
): Promise<void> {
  requireFields({ field: 'token', value: parseToken(token), description: 'must be a session token' })
  await sessionClient.sessions.deleteSession({ target: { case: 'token', value: token } }, propagate(call))
}
