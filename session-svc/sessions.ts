/** The rules of sessions and their storage in Redis: create, validate, end, revoke, list. */

import { Code } from '@connectrpc/connect'
import { reasoned } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { batchBySlot } from '#common/redis/routing.ts'
import { createToken, type ParsedToken, parseToken, sessionId, uuidBytes } from '#common/session/session-token.ts'
import { askEngine } from '#common/time/engine-call.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { createPendingUses } from './pending-uses.ts'
import type { SessionRedis } from './scripts.ts'

/** The rules that sessions live by; times in milliseconds. */
export interface SessionRules {
  idleTimeout: number
  lifetime: number
  maxPerUser: number
}

/** A session, without its token; times in milliseconds since 1970 (UTC), by the clock of Redis. */
export interface Session {
  id: string
  userId: string
  createdAt: number
  lastSeenAt: number
  expiresAt: number
  /** In milliseconds, by the clock of Redis. */
  age: number
}

/** A session, or why there is none, or nothing: it cannot be known at the moment. */
export type ValidationResult = Session | InvalidReason | undefined

/** Sessions in Redis. Every method ends when its signal aborts. */
export type Sessions = ReturnType<typeof createSessions>

// The hash tag keeps all keys of a user in one slot of a cluster.
const tag = (userId: string) => `{${uuidBytes(userId).toString('base64url')}}`
const sessionsKey = (userId: string) => `s:${tag(userId)}`
const epochKey = (userId: string) => `e:${tag(userId)}`

// No session can live longer, whatever `session.lifetime` was when it was created: it takes 400 days at most.
const longestLifetimeMs = 400 * 86_400_000

interface StoredSession {
  epoch: number
  createdAt: number
  lastSeenAt: number
  expiresAt: number
}

/** @returns nothing for a value that session-svc did not write */
function parseStored(value: string): StoredSession | undefined {
  const [epoch, createdAt, lastSeenAt, expiresAt] = value.split(' ')
  const stored = {
    epoch: Number(epoch),
    createdAt: Number(createdAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt)
  }
  return Object.values(stored).every(Number.isFinite) ? stored : undefined
}

export function createSessions(redis: SessionRedis, rules: SessionRules, log: Logger) {
  const uses = createPendingUses(
    ({ userId, hash, usedAt }) =>
      redis.touchSession(
        [sessionsKey(userId)],
        hash,
        String(usedAt),
        String(rules.idleTimeout),
        String(rules.lifetime)
      ),
    log
  )

  /** @throws ConnectError `failed_precondition` SESSION_EPOCH_RAISED */
  async function createSession(userId: string, epoch: bigint, replaces: ParsedToken | undefined, signal: AbortSignal) {
    const { token, hash } = createToken(userId)
    const own = replaces?.userId === userId
    const { lifetime, idleTimeout, maxPerUser } = rules
    const reply = await askEngine(
      signal,
      redis.createSession(
        [sessionsKey(userId), epochKey(userId)],
        String(epoch),
        String(lifetime),
        String(idleTimeout),
        hash,
        String(maxPerUser),
        own ? replaces.hash : ''
      ),
      // A new session that nobody was given is none; one that was ended is.
      own
    )
    const [first, expiresAt] = reply as [createdAtOrLowestEpoch: number, expiresAt?: number]
    if (expiresAt === undefined) throw epochRaised(first)
    const createdAt = first
    // Another user's session lies in another slot: it ends once the new one exists, or neither is given out.
    if (replaces && !own) {
      await deleteSession(replaces.userId, replaces.hash, signal).catch(async (error) => {
        await deleteSession(userId, hash, AbortSignal.timeout(1000)).catch((failure) =>
          log.warn({ event: 'session_orphaned', userId, err: failure }, 'a session that nobody knows is left to expire')
        )
        throw error
      })
    }
    return { token, session: { id: sessionId(hash), userId, createdAt, lastSeenAt: createdAt, expiresAt, age: 0 } }
  }

  /** What each token stands for, in their order; all of them are asked for in one command. */
  async function validate(tokens: string[], signal: AbortSignal): Promise<ValidationResult[]> {
    const parsed = tokens.map(parseToken)
    const known = parsed.filter((token) => token !== undefined)
    const stored = known.length > 0 ? await read(known, signal, true) : []
    let next = 0
    return parsed.map((token) => (token === undefined ? InvalidReason.MALFORMED : stored[next++]))
  }

  /** @param asUse whether this counts as a use of the sessions */
  function read(tokens: ParsedToken[], signal: AbortSignal, asUse: boolean): Promise<ValidationResult[]> {
    const keyOf = ({ userId }: ParsedToken) => sessionsKey(userId)
    return batchBySlot(redis, tokens, keyOf, (some) => readTogether(some, signal, asUse))
  }

  async function readTogether(tokens: ParsedToken[], signal: AbortSignal, asUse: boolean): Promise<ValidationResult[]> {
    const keys = tokens.flatMap(({ userId }) => {
      const user = tag(userId)
      return [`s:${user}`, `e:${user}`]
    })
    const hashes = tokens.map(({ hash }) => hash)
    const reply = await askEngine(signal, redis.readSessions(keys, ...hashes))
    const [now, ...found] = reply as [now: number, ...(string | number | null)[]]
    return tokens.map((token, index) => {
      const [value, lowestEpoch, keyTtl] = found.slice(3 * index, 3 * index + 3)
      if (typeof value !== 'string') return InvalidReason.NOT_FOUND
      const stored = parseStored(value)
      const lowest = Number(lowestEpoch ?? 0)
      if (stored === undefined || Number.isNaN(lowest)) {
        const line = { event: 'session_unreadable', userId: token.userId, sessionId: sessionId(token.hash) }
        log.error(line, 'Redis holds a value of a session or an epoch that is not well-formed')
        return undefined
      }
      if (stored.epoch < lowest) return InvalidReason.REVOKED
      return judge(token, now, stored, asUse ? Number(keyTtl) : undefined)
    })
  }

  /**
   * By the rules of this instance alone, so that changed rules apply at once.
   *
   * @param now by the clock of Redis, as all instances have it
   * @param keyTtl how long the key lives, if this is a use; below 0: for ever
   */
  function judge({ userId, hash }: ParsedToken, now: number, stored: StoredSession, keyTtl?: number): ValidationResult {
    const { createdAt } = stored
    const expiresAt = createdAt + rules.lifetime
    let lastSeenAt = Math.max(stored.lastSeenAt, uses.lastUse(hash))
    const endsAt = Math.min(expiresAt, lastSeenAt + rules.idleTimeout)
    if (now >= endsAt) return InvalidReason.NOT_FOUND
    // A use is written after a tenth of the idle timeout, so that most validations only read; and at once if what is
    // stored, by other rules, would end the session before these do.
    const isShort = stored.expiresAt < expiresAt || (keyTtl !== undefined && keyTtl >= 0 && now + keyTtl < endsAt)
    if (keyTtl !== undefined && (now - lastSeenAt > rules.idleTimeout / 10 || isShort)) {
      lastSeenAt = now
      uses.record(userId, hash, now)
    }
    return { id: sessionId(hash), userId, createdAt, lastSeenAt, expiresAt, age: Math.max(0, now - createdAt) }
  }

  async function deleteSession(userId: string, hash: string, signal: AbortSignal): Promise<void> {
    await askEngine(signal, redis.hDel(sessionsKey(userId), hash), true)
  }

  return {
    createSession,
    validate,
    deleteSession,

    /** Ends the session that a listing named. @returns whether there was one */
    async deleteSessionById(userId: string, id: string, signal: AbortSignal): Promise<boolean> {
      const hashes = await askEngine(signal, redis.hKeys(sessionsKey(userId)))
      const hash = hashes.find((each) => sessionId(each) === id)
      // Of one that is gone already, too, it is made sure that it stays so.
      await deleteSession(userId, hash ?? '', signal)
      return hash !== undefined
    },

    /**
     * Ends every session below an epoch, or all of them: one write.
     *
     * @returns the lowest valid epoch from now on, and the number of valid sessions that ended
     */
    async revoke(userId: string, epoch: bigint, all: boolean, signal: AbortSignal) {
      const keys = [sessionsKey(userId), epochKey(userId)]
      const times = [rules.idleTimeout, rules.lifetime, longestLifetimeMs].map(String) as [string, string, string]
      const reply = await askEngine(signal, redis.revokeSessions(keys, String(epoch), all ? '1' : '0', ...times), true)
      const [lowestEpoch, ended] = reply as [number, number]
      return { epoch: BigInt(lowestEpoch), ended }
    },

    /** The valid sessions, the newest first. */
    async list(userId: string, signal: AbortSignal): Promise<Session[]> {
      const hashes = await askEngine(signal, redis.hKeys(sessionsKey(userId)))
      const validations =
        hashes.length > 0
          ? await read(
              hashes.map((hash) => ({ userId, hash })),
              signal,
              false
            )
          : []
      return validations.filter((each) => typeof each === 'object').sort((a, b) => b.createdAt - a.createdAt)
    }
  }
}

function epochRaised(lowestEpoch: number) {
  const sentence = 'The sessions of this user were revoked while this one was about to be created.'
  const metadata = { lowestEpoch: String(lowestEpoch) }
  return reasoned(Code.FailedPrecondition, sentence, { domain: 'session.v1', reason: 'SESSION_EPOCH_RAISED', metadata })
}
