/** The rules of sessions and their storage in Redis: create, validate, end, revoke, list. */

import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '@connectrpc/connect'
import { askEngine } from '#common/engine-call.ts'
import { reasoned } from '#common/errors.ts'
import type { Logger } from '#common/logger.ts'
import type { Redis } from '#common/redis.ts'
import { createToken, type ParsedToken, parseToken, sessionId, uuidBytes } from '#common/token.ts'
import { InvalidReason, type Session, SessionSchema } from '#gen/session/v1/session_pb.ts'
import { createScript, deleteScript, revokeScript, touchScript } from './scripts.ts'

/** The scripts that the connection to Redis must know. */
export const sessionScripts = {
  createSession: createScript,
  touchSession: touchScript,
  deleteSession: deleteScript,
  revokeSessions: revokeScript
}

/** The connection that sessions are stored through. */
export type SessionRedis = Redis<typeof sessionScripts>

/** The rules that sessions live by; times in milliseconds. */
export interface SessionRules {
  idleTimeout: number
  lifetime: number
  maxPerUser: number
}

/** A session, or why there is none, or nothing: it cannot be known at the moment. */
export type Validation = Session | InvalidReason | undefined

/** Sessions in Redis. Every method ends when its signal aborts. */
export type Sessions = ReturnType<typeof createSessions>

const tag = (userId: string) => `{${uuidBytes(userId).toString('base64url')}}`
const sessionPrefix = (userId: string) => `s:${tag(userId)}:`
const epochKey = (userId: string) => `e:${tag(userId)}`
const listKey = (userId: string) => `l:${tag(userId)}`

/** What has to be read of a session: itself, and its user's epoch. */
function keysOf({ userId, hash }: ParsedToken): [string, string] {
  const user = tag(userId)
  return [`s:${user}:${hash}`, `e:${user}`]
}

interface StoredSession {
  epoch: number
  createdAt: number
  lastSeenAt: number
  expiresAt: number
}

function parseStored(value: string): StoredSession {
  const [epoch, createdAt, lastSeenAt, expiresAt] = value.split(' ')
  return {
    epoch: Number(epoch),
    createdAt: Number(createdAt),
    lastSeenAt: Number(lastSeenAt),
    expiresAt: Number(expiresAt)
  }
}

function toSession(userId: string, hash: string, stored: StoredSession): Session {
  return create(SessionSchema, {
    id: sessionId(hash),
    userId,
    createdAt: timestampFromMs(stored.createdAt),
    lastSeenAt: timestampFromMs(stored.lastSeenAt),
    expiresAt: timestampFromMs(stored.expiresAt)
  })
}

export function createSessions(redis: SessionRedis, rules: SessionRules, log: Logger) {
  /** @throws ConnectError `failed_precondition` SESSION_EPOCH_RAISED */
  async function createSession(userId: string, epoch: bigint, replaces: ParsedToken | undefined, signal: AbortSignal) {
    const { token, hash } = createToken(userId)
    const own = replaces?.userId === userId
    const keys = [sessionPrefix(userId) + hash, epochKey(userId), listKey(userId)]
    const reply = await askEngine(
      signal,
      redis.createSession(
        keys,
        String(epoch),
        String(rules.lifetime),
        String(rules.idleTimeout),
        hash,
        String(rules.maxPerUser),
        sessionPrefix(userId),
        own ? replaces.hash : ''
      )
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
    return { token, session: toSession(userId, hash, { epoch: 0, createdAt, lastSeenAt: createdAt, expiresAt }) }
  }

  /** What each token stands for, in their order; all of them are asked for in one command. */
  async function validate(tokens: string[], signal: AbortSignal): Promise<Validation[]> {
    const parsed = tokens.map(parseToken)
    const keys = parsed.flatMap((token) => (token ? keysOf(token) : []))
    const values = keys.length > 0 ? await askEngine(signal, redis.mGet(keys)) : []
    const now = Date.now()
    let next = 0
    return parsed.map((token) => {
      if (token === undefined) return InvalidReason.MALFORMED
      const [value, lowest] = [values[next], values[next + 1]]
      next += 2
      if (typeof value !== 'string') return InvalidReason.NOT_FOUND
      const stored = parseStored(value)
      if (stored.epoch < Number(lowest ?? 0)) return InvalidReason.REVOKED
      // A use is written back when a tenth of the idle timeout has passed, so that most validations only read.
      if (now - stored.lastSeenAt > rules.idleTimeout / 10) {
        stored.lastSeenAt = now
        noteUse(token)
      }
      return toSession(token.userId, token.hash, stored)
    })
  }

  function noteUse({ userId, hash }: ParsedToken): void {
    redis.touchSession([sessionPrefix(userId) + hash], String(rules.idleTimeout)).catch((error) => {
      log.warn({ event: 'session_touch_failed', userId, err: error }, 'the use of a session could not be noted')
    })
  }

  async function deleteSession(userId: string, hash: string, signal: AbortSignal): Promise<void> {
    await askEngine(signal, redis.deleteSession([sessionPrefix(userId) + hash, listKey(userId)], hash), true)
  }

  return {
    createSession,
    validate,
    deleteSession,

    /** Ends the session that a listing named. @returns whether there was one */
    async deleteSessionById(userId: string, id: string, signal: AbortSignal): Promise<boolean> {
      const hashes = await askEngine(signal, redis.zRange(listKey(userId), 0, -1))
      const hash = hashes.find((each) => sessionId(each) === id)
      if (hash === undefined) return false
      await deleteSession(userId, hash, signal)
      return true
    },

    /** Ends every session below an epoch: one write. */
    async revoke(userId: string, epoch: bigint, signal: AbortSignal): Promise<void> {
      const keys = [epochKey(userId), listKey(userId)]
      await askEngine(signal, redis.revokeSessions(keys, String(epoch), String(rules.lifetime)), true)
    },

    /** The valid sessions, the newest first. */
    async list(userId: string, signal: AbortSignal): Promise<Session[]> {
      const hashes = await askEngine(signal, redis.zRange(listKey(userId), 0, -1, { REV: true }))
      const keys = [epochKey(userId), ...hashes.map((hash) => sessionPrefix(userId) + hash)]
      const [lowest, ...values] = await askEngine(signal, redis.mGet(keys))
      return hashes.flatMap((hash, index) => {
        const value = values[index]
        if (typeof value !== 'string') return []
        const stored = parseStored(value)
        return stored.epoch < Number(lowest ?? 0) ? [] : [toSession(userId, hash, stored)]
      })
    }
  }
}

function epochRaised(lowestEpoch: number) {
  const sentence = 'The sessions of this user were revoked while this one was about to be created.'
  const metadata = { lowestEpoch: String(lowestEpoch) }
  return reasoned(Code.FailedPrecondition, sentence, { domain: 'session.v1', reason: 'SESSION_EPOCH_RAISED', metadata })
}
