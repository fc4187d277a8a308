/** The types of the domain: a session, the rules for its end, the result of a validation. Times are in milliseconds. */

import type { InvalidReason } from '#gen/session/v1/session_pb.ts'

/** The rules that end sessions; durations in milliseconds. */
export interface SessionRules {
  idleTimeout: number
  lifetime: number
  maxPerUser: number
}

/** A session, without its token; times since 1970 (UTC), by the clock of Redis. */
export interface Session {
  id: string
  userId: string
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  /** In milliseconds, by the clock of Redis. */
  age: number
}

/** A session in a list. */
export interface ListedSession extends Session {
  /** Empty if the client sent none. */
  userAgent: string
}

/** The result for one token; `unknown`: its validity cannot be determined now, as during an outage of its Redis server. */
export type ValidationResult =
  | { kind: 'valid'; session: Session }
  | { kind: 'invalid'; reason: InvalidReason }
  | { kind: 'unknown' }
