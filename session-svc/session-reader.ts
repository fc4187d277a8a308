/** Reads sessions from Redis and decides whether they are valid, by the rules of this instance. */

import type { Logger } from '#common/logging/logger.ts'
import { type ParsedToken, sessionId } from '#common/session/session-token.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import type { PendingUses } from './pending-uses.ts'
import type { SessionRedis } from './scripts.ts'
import type { SessionRules, ValidationResult } from './session-types.ts'
import { batchBySlot } from './slot-batches.ts'
import { parseStoredSession, type StoredSession, userKeys } from './stored-session.ts'

const unknown: ValidationResult = { kind: 'unknown' }
const notFound: ValidationResult = { kind: 'invalid', reason: InvalidReason.NOT_FOUND }
const revoked: ValidationResult = { kind: 'invalid', reason: InvalidReason.REVOKED }

/** The part of the read script's reply for one token. */
interface StoredReply {
  /** The clock of Redis: all instances have the same. */
  now: number
  value: string | number | null | undefined
  lowestEpoch: string | number | null | undefined
  keyTtlMs: string | number | null | undefined
}

interface SessionReaderParts {
  redis: SessionRedis
  rules: SessionRules
  uses: PendingUses
  log: Logger
}

export function createSessionReader({ redis, rules, uses, log }: SessionReaderParts) {
  /** @param isUse whether the sessions that are valid count as used */
  async function readBatch(tokens: ParsedToken[], isUse: boolean, signal: AbortSignal): Promise<ValidationResult[]> {
    const keys = tokens.flatMap(({ userId }) => userKeys(userId))
    const hashes = tokens.map(({ hash }) => hash)
    const reply = await callEngine(signal, redis.readSessions(keys, ...hashes))
    const [now, ...fields] = reply as [now: number, ...(string | number | null)[]]
    return tokens.map((token, index) => {
      const [value, lowestEpoch, keyTtlMs] = fields.slice(3 * index, 3 * index + 3)
      return resultFor(token, { now, value, lowestEpoch, keyTtlMs }, isUse)
    })
  }

  function resultFor(token: ParsedToken, { now, value, lowestEpoch, keyTtlMs }: StoredReply, isUse: boolean) {
    if (typeof value !== 'string') return notFound
    const stored = parseStoredSession(value)
    const lowest = Number(lowestEpoch ?? 0)
    if (stored === undefined || Number.isNaN(lowest)) {
      const line = { event: 'session_unreadable', userId: token.userId, sessionId: sessionId(token.hash) }
      log.error(line, 'found a malformed session or epoch in Redis')
      return unknown
    }
    if (stored.epoch < lowest) return revoked
    return applyRules(token, stored, now, isUse ? Number(keyTtlMs) : undefined)
  }

  /**
   * Applies the rules of this instance alone, so that changed rules apply at once.
   *
   * @param keyTtlMs if this is a use: the time to live of the user's key; negative if the key does not expire
   */
  function applyRules(token: ParsedToken, stored: StoredSession, now: number, keyTtlMs?: number): ValidationResult {
    const { userId, hash } = token
    const { createdAt } = stored
    const expiresAt = createdAt + rules.lifetime
    let lastSeenAt = Math.max(stored.lastSeenAt, uses.lastUse(hash))
    const endsAt = Math.min(expiresAt, lastSeenAt + rules.idleTimeout)
    if (now >= endsAt) return notFound
    // A use is written after a tenth of the idle timeout, so that most validations only read; and at once if the stored
    // times, from other rules, would end the session before these rules do.
    const endsEarly =
      stored.expiresAt < expiresAt || (keyTtlMs !== undefined && keyTtlMs >= 0 && now + keyTtlMs < endsAt)
    if (keyTtlMs !== undefined && (now - lastSeenAt > rules.idleTimeout / 10 || endsEarly)) {
      lastSeenAt = now
      uses.record(userId, hash, now)
    }
    const age = Math.max(0, now - createdAt)
    return { kind: 'valid', session: { id: sessionId(hash), userId, createdAt, lastSeenAt, expiresAt, age } }
  }

  function read(tokens: ParsedToken[], isUse: boolean, signal: AbortSignal): Promise<ValidationResult[]> {
    const keyOf = ({ userId }: ParsedToken) => userKeys(userId)[0]
    return batchBySlot(redis, tokens, keyOf, (batch) => readBatch(batch, isUse, signal), unknown)
  }

  return {
    /** The result for each token, in their order; the sessions that are valid count as used. */
    use: (tokens: ParsedToken[], signal: AbortSignal) => read(tokens, true, signal),
    /** The same, but not a use. */
    inspect: (tokens: ParsedToken[], signal: AbortSignal) => read(tokens, false, signal)
  }
}
