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
import type { Session, SessionRules, ValidationResult } from './session-types.ts'
import { userKeys } from './stored-session.ts'

// The longest value that `session.lifetime` accepts: no session lives longer, whatever the value was at its creation.
const longestLifetimeMs = 400 * 86_400_000

const malformed: ValidationResult = { kind: 'invalid', reason: InvalidReason.MALFORMED }
const unknown: ValidationResult = { kind: 'unknown' }

/** Sessions in Redis. Every method ends when its signal aborts. */
export type Sessions = ReturnType<typeof createSessions>

export function createSessions(redis: SessionRedis, rules: SessionRules, log: Logger) {
  const { idleTimeout, lifetime, maxPerUser } = rules
  const uses = createPendingUses(({ userId, hash, usedAt }) => {
    const [key] = userKeys(userId)
    return redis.touchSession([key], hash, String(usedAt), String(idleTimeout), String(lifetime))
  }, log)
  const reader = createSessionReader({ redis, rules, uses, log })

  /**
   * Creates a session, and ends the session that it replaces.
   *
   * @throws ConnectError `failed_precondition` SESSION_EPOCH_RAISED if the epoch was raised above the given one
   */
  async function createSession(userId: string, epoch: bigint, replaced: ParsedToken | undefined, signal: AbortSignal) {
    const { token, hash } = createToken(userId)
    const isSameUser = replaced?.userId === userId
    const times = [String(lifetime), String(idleTimeout)] as const
    const replacedHash = isSameUser ? replaced.hash : ''
    const reply = await callEngine(
      signal,
      redis.createSession(userKeys(userId), String(epoch), ...times, hash, String(maxPerUser), replacedHash),
      // If the reply is lost, no caller has the token of the new session, so the creation has no effect; the end of the
      // replaced session has one.
      isSameUser
    )
    const [first, expiresAt] = reply as [createdAtOrLowestEpoch: number, expiresAt?: number]
    if (expiresAt === undefined) throw epochRaised(first)
    const createdAt = first
    if (replaced && !isSameUser) await endReplaced(replaced, { userId, hash }, signal)
    return { token, session: { id: sessionId(hash), userId, createdAt, lastSeenAt: createdAt, expiresAt, age: 0 } }
  }

  /**
   * Ends the replaced session of another user. Its keys are in another slot, so this is a second write after the creation.
   * If the write fails, the new session is deleted.
   */
  async function endReplaced(replaced: ParsedToken, created: ParsedToken, signal: AbortSignal): Promise<void> {
    try {
      await deleteSession(replaced, signal)
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

  async function deleteSession({ userId, hash }: ParsedToken, signal: AbortSignal): Promise<void> {
    const [key] = userKeys(userId)
    await callEngine(signal, redis.hDel(key, hash), true)
  }

  /** Ends the session that has this id in a list. @returns whether there was one */
  async function deleteSessionById(userId: string, id: string, signal: AbortSignal): Promise<boolean> {
    const hash = (await listHashes(userId, signal)).find((each) => sessionId(each) === id)
    // The delete is sent even if no session has this id: it waits until the replicas have the deletion of an earlier attempt.
    await deleteSession({ userId, hash: hash ?? '' }, signal)
    return hash !== undefined
  }

  function listHashes(userId: string, signal: AbortSignal): Promise<string[]> {
    const [key] = userKeys(userId)
    return callEngine(signal, redis.hKeys(key))
  }

  /**
   * Ends every session below an epoch, or all of them: one write.
   *
   * @returns the lowest valid epoch from now on, and the number of valid sessions that ended
   */
  async function revoke(userId: string, epoch: bigint, all: boolean, signal: AbortSignal) {
    const times = [String(idleTimeout), String(lifetime), String(longestLifetimeMs)] as const
    const command = redis.revokeSessions(userKeys(userId), String(epoch), all ? '1' : '0', ...times)
    const [lowestEpoch, ended] = (await callEngine(signal, command, true)) as [number, number]
    return { epoch: BigInt(lowestEpoch), ended }
  }

  /** The valid sessions, the newest first. */
  async function list(userId: string, signal: AbortSignal): Promise<Session[]> {
    const tokens = (await listHashes(userId, signal)).map((hash) => ({ userId, hash }))
    const results = tokens.length > 0 ? await reader.inspect(tokens, signal) : []
    return results
      .flatMap((result) => (result.kind === 'valid' ? [result.session] : []))
      .sort((a, b) => b.createdAt - a.createdAt)
  }

  return { createSession, validate, deleteSession, deleteSessionById, revoke, list }
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
