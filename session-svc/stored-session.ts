/**
 * The form in which Redis stores sessions: the names of the keys, and the one encoder and the two parsers (Lua and
 * TypeScript) of a value.
 *
 * Keys of a user:
 *   s:{uid}  a hash: the digest of each session's secret, and the session's value. One key for all sessions of a user
 *            takes half the memory of a key for each.
 *   e:{uid}  the lowest epoch whose sessions are valid; a missing key means 0
 *   s:{uid}:agents  the user agents of the sessions, for lists only; see user-agents.ts
 *
 * A value has four numbers, separated by spaces; times in ms since 1970 (UTC):
 *   version 1         epoch createdAt lastSeenAt expiresAt
 *   later versions    epoch createdAt lastSeenAt expiresAt version and the fields of that version
 * `expiresAt` is the latest end that any instance allows where the session was used.
 *
 * This release writes version 1, because the scripts of the release before it match exactly four numbers: on a fifth
 * field, their creations, uses and revocations fail. It reads every version: it uses the four numbers and keeps
 * all other fields when it rewrites a value. So a rolling update is safe in both directions between this release and the one
 * before, and between this release and one that writes version 2. To add a field, append it here: to `encode` and to
 * both parsers.
 */

import { uuidBytes } from '#common/session/session-token.ts'

/** The keys of a user. The hash tag keeps them in one slot of a cluster, so that a script can use both. */
export function userKeys(userId: string): [sessions: string, epoch: string] {
  const tag = uuidBytes(userId).toString('base64url')
  return [`s:{${tag}}`, `e:{${tag}}`]
}

/** The fields of a stored session that every version has. */
export interface StoredSession {
  version: number
  epoch: number
  createdAt: number
  lastSeenAt: number
  expiresAt: number
}

const valuePattern = /^(\d+) (\d+) (\d+) (\d+)(?: (\d+)(?: .*)?)?$/s

/** Parses a value of any version; returns undefined for a value that session-svc did not write. */
export function parseStoredSession(value: string): StoredSession | undefined {
  const match = valuePattern.exec(value)
  if (match === null) return undefined
  return {
    version: match[5] === undefined ? 1 : Number(match[5]),
    epoch: Number(match[1]),
    createdAt: Number(match[2]),
    lastSeenAt: Number(match[3]),
    expiresAt: Number(match[4])
  }
}

/** Lua: `decode` parses a value of any version and raises an error for any other; `encode` is its inverse. */
export const storedSessionLua = `
local function decode(value)
  local epoch, created, seen, expires, suffix = string.match(value, '^(%d+) (%d+) (%d+) (%d+)(.*)$')
  assert(suffix == '' or suffix and string.find(suffix, '^ %d+'), 'malformed session')
  return {
    epoch = tonumber(epoch), created = tonumber(created), seen = tonumber(seen), expires = tonumber(expires),
    suffix = suffix
  }
end
local function encode(session)
  local numbers = string.format('%.0f %.0f %.0f %.0f', session.epoch, session.created, session.seen, session.expires)
  return numbers .. session.suffix
end
`
