/** The operations on sessions: create, validate, end, revoke, list. */

import { Code } from '@connectrpc/connect'
import { errorWithReason } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { createToken, type ParsedToken, parseToken, sessionId } from '#common/session/session-token.ts'
import { callEngine } from '#common/time/engine-call.ts'
import { InvalidReason } from '#gen/session/v1/session_pb.ts'
import { createPendingUses } from './pending-uses.ts'
import type { SessionRedis } from './scripts.ts'
import { createSessionReader } from './session-reader.ts'
import type { ListedSession, SessionRules, ValidationResult } from './session-types.ts'
import { userKeys } from './stored-session.ts'
import { agentsKey } from './user-agents.ts'

// The longest value that `session.lifetime` accepts: no session lives longer, whatever the value was at its creation.
const longestLifetimeMs = 400 * 86_400_000

const malformed: ValidationResult = { kind: 'invalid', reason: InvalidReason.MALFORMED }
const unknown: ValidationResult = { kind: 'unknown' }

/** Why a login ended an earlier session: it replaces that session, or the account had too many. */
type EndReason = 'replaced' | 'too_many'

/** The parts of a session that come from the request of its client. */
interface SessionOrigin {
  /** The token of a session that ends when the new one is created. */
  replaced?: ParsedToken | undefined
  /** The cleaned `User-Agent`; none if empty. */
  userAgent?: string | undefined
}

/** Which sessions a revocation ends. */
interface Revocation {
  epoch: bigint
  /** Every session ends, whatever its epoch. */
  all: boolean
  /** The id of a session that does not end; not together with `all`. */
  keptId?: string
}

/** Sessions in Redis. Every method ends when its signal aborts. */
export type Sessions = ReturnType<typeof createSessions>

export function createSessions(redis: SessionRedis, rules: SessionRules, log: Logger) {
  const { idleTimeout, lifetime, maxPerUser } = rules
  const uses = createPendingUses(({ userId, hash, usedAt }) => {
    const keys = sessionKeys(userId)
    return redis.touchSession(keys, hash, String(usedAt), String(idleTimeout), String(lifetime))
  }, log)
  const reader = createSessionReader({ redis, rules, uses, log })

  /**
   * Creates a session, and ends the session that it replaces and the oldest ones above the limit: `ended`.
   *
   * @throws ConnectError `failed_precondition` SESSION_EPOCH_RAISED if the epoch was raised above the given one
   */
  async function createSession(
    userId: string,
    epoch: bigint,
    { replaced, userAgent = '' }: SessionOrigin,
    signal: AbortSignal
  ) {
    const { token, hash } = createToken(userId)
    const isSameUser = replaced?.userId === userId
    const times = [String(lifetime), String(idleTimeout)] as const
    const origin = [isSameUser ? replaced.hash : '', userAgent] as const
    const reply = await callEngine(
      signal,
      redis.createSession(allKeys(userId), String(epoch), ...times, hash, String(maxPerUser), ...origin),
      // If the reply is lost, no caller has the token of the new session, so the creation has no effect; the end of the
      // replaced session has one.
      isSameUser
    )
    // The previous release's script, which tests run, has no list.
    const [first, expiresAt, hashes = []] = reply as [createdAtOrLowestEpoch: number, expiresAt?: number, string[]?]
    if (expiresAt === undefined) throw epochRaised(first)
    const createdAt = first
    const reasonOf = (each: string): EndReason => (isSameUser && each === replaced.hash ? 'replaced' : 'too_many')
    const ended = hashes.map((each) => ({ userId, id: sessionId(each), reason: reasonOf(each) }))
    if (replaced && !isSameUser && (await endReplaced(replaced, { userId, hash }, signal))) {
      ended.push({ userId: replaced.userId, id: sessionId(replaced.hash), reason: 'replaced' })
    }
    return {
      token,
      ended,
      session: { id: sessionId(hash), userId, createdAt, lastSeenAt: createdAt, expiresAt, age: 0 }
    }
  }

  /**
   * Ends the replaced session of another user. Its keys are in another slot, so this is a second write after the creation.
   * If the write fails, the new session is deleted.
   *
   * @returns whether there was a session to end
   */
  async function endReplaced(replaced: ParsedToken, created: ParsedToken, signal: AbortSignal): Promise<boolean> {
    try {
      return await deleteSession(replaced, signal)
    } catch (error) {
      await deleteSession(created, AbortSignal.timeout(1000)).catch((failure) => {
        const line = { event: 'session_orphaned', userId: created.userId, err: failure }
        log.warn(line, 'failed to delete an orphaned session')
      })
      throw error
    }
  }

  /** The result for each token, in their order; Redis gets one command for all of them. */
  async function validate(tokens: string[], signal: AbortSignal): Promise<ValidationResult[]> {
    const parsed = tokens.map(parseToken)
    const wellFormed = parsed.filter((token) => token !== undefined)
    const results = wellFormed.length > 0 ? await reader.use(wellFormed, signal) : []
    let next = 0
    return parsed.map((token) => (token === undefined ? malformed : (results[next++] ?? unknown)))
  }

  /** @returns whether there was one */
  async function deleteSession({ userId, hash }: ParsedToken, signal: AbortSignal): Promise<boolean> {
    return (await callEngine(signal, redis.deleteSession(sessionKeys(userId), hash), true)) === 1
  }

  /** Ends the session that has this id in a list. @returns whether there was one */
  async function deleteSessionById(userId: string, id: string, signal: AbortSignal): Promise<boolean> {
    const hash = await findHash(userId, id, signal)
    // The delete is sent even if no session has this id: it waits until the replicas have the deletion of an earlier attempt.
    await deleteSession({ userId, hash: hash ?? '' }, signal)
    return hash !== undefined
  }

  /** The digest of the session that has this id in a list. */
  async function findHash(userId: string, id: string, signal: AbortSignal): Promise<string | undefined> {
    return (await listHashes(userId, signal)).find((hash) => sessionId(hash) === id)
  }

  function listHashes(userId: string, signal: AbortSignal): Promise<string[]> {
    const [key] = userKeys(userId)
    return callEngine(signal, redis.hKeys(key))
  }

  /**
   * Ends every session below an epoch but the kept one, which gets that epoch; or ends all of them. One write.
   *
   * @returns the lowest valid epoch from now on, and the number of valid sessions that ended
   */
  async function revoke(userId: string, { epoch, all, keptId }: Revocation, signal: AbortSignal) {
    const kept = keptId ? await findHash(userId, keptId, signal) : undefined
    const times = [String(idleTimeout), String(lifetime), String(longestLifetimeMs)] as const
    const command = redis.revokeSessions(allKeys(userId), String(epoch), all ? '1' : '0', ...times, kept ?? '')
    const [lowestEpoch, ended] = (await callEngine(signal, command, true)) as [number, number]
    return { epoch: BigInt(lowestEpoch), ended }
  }

  /** The valid sessions, the newest first. */
  async function list(userId: string, signal: AbortSignal): Promise<ListedSession[]> {
    const hashes = await listHashes(userId, signal)
    if (hashes.length === 0) return []
    const tokens = hashes.map((hash) => ({ userId, hash }))
    const [results, agents] = await Promise.all([
      reader.inspect(tokens, signal),
      callEngine(signal, redis.hmGet(agentsKey(userId), hashes))
    ])
    return results
      .flatMap((result, index) =>
        result.kind === 'valid' ? [{ ...result.session, userAgent: agents[index] ?? '' }] : []
      )
      .sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1))
  }

  return { createSession, validate, deleteSession, deleteSessionById, revoke, list }
}

function sessionKeys(userId: string): string[] {
  return [userKeys(userId)[0], agentsKey(userId)]
}

function allKeys(userId: string): string[] {
  return [...userKeys(userId), agentsKey(userId)]
}

function epochRaised(lowestEpoch: number) {
  const sentence = 'The sessions of this user were revoked while this one was about to be created.'
  const metadata = { lowestEpoch: String(lowestEpoch) }
  return errorWithReason(Code.FailedPrecondition, sentence, {
    domain: 'session.v1',
    reason: 'SESSION_EPOCH_RAISED',
    metadata
  })
}
