/** Writes that are answered when replicas have them, so that a failover to one of these forgets no end of a session. */

import { Code, ConnectError } from '@connectrpc/connect'
import { unavailable } from '#common/errors/connect-errors.ts'
import type { RedisConfig, RedisStore, RedisStoreOptions } from '#common/redis/routing.ts'
import { openRedis } from '#common/redis/store.ts'
import { type SessionRedis, sessionScripts } from './scripts.ts'

type Scripts = typeof sessionScripts

const waitMs = 1000
// While replicas are away each write takes all of that time, and what comes after it waits.
const maxPending = 100

/** The store of sessions: its own servers are those that are read. */
export interface SessionStore extends RedisStore<Scripts> {
  redis: SessionRedis
  /** The same servers, through the connections that writes use. */
  writes: RedisStore<Scripts>
}

/**
 * The store of sessions that the configuration asks for. Reads and writes have connections of their own: a write that
 * Redis delays (CLIENT PAUSE WRITE) delays all commands behind it on its connection.
 */
export function openSessionStore(
  config: RedisConfig & { minReplicas: number },
  options: Omit<RedisStoreOptions<Scripts>, 'scripts'>
): SessionStore {
  const reads = openRedis(config, { ...options, scripts: sessionScripts })
  const writes = openRedis(config, { ...options, scripts: sessionScripts })
  const stores = [reads, writes]
  let redis = Object.assign(Object.create(reads.redis), commandsOf(writes.redis)) as SessionRedis
  if (config.minReplicas > 0) {
    const confirmers = openRedis(config, { log: options.log, scripts: sessionScripts })
    stores.push(confirmers)
    redis = confirmedWrites(redis, confirmers, config.minReplicas)
  }
  function close(): void {
    for (const store of stores) store.close()
  }
  return { ...reads, redis, writes, close }
}

function commandsOf(redis: SessionRedis): Pick<SessionRedis, Write | 'touchSession'> {
  return {
    createSession: (...args) => redis.createSession(...args),
    touchSession: (...args) => redis.touchSession(...args),
    revokeSessions: (...args) => redis.revokeSessions(...args),
    hDel: (...args) => redis.hDel(...args)
  }
}

/**
 * The commands of a store, of which those that create or end sessions reject with `deadline_exceeded` (the outcome
 * is unknown) unless so many replicas have them in time.
 *
 * Each of them is followed by a write that always changes something: of one that changes nothing, such as a log-out
 * that is repeated, Redis does not wait for the replicas, though these may still lack what the first try did.
 *
 * @param writers a store of its own, since WAIT holds up every command behind it on its connection
 */
function confirmedWrites(redis: SessionRedis, writers: RedisStore<Scripts>, replicas: number): SessionRedis {
  let pending = 0

  function confirmed(name: Write) {
    return async (keys: string | string[], ...args: string[]) => {
      if (pending >= maxPending) throw unavailable('Too many writes wait for replicas.')
      pending += 1
      try {
        const [key] = [keys].flat() as [string]
        const [reply, , copies] = await writers.route(key, (client) => {
          const pipeline = client.multi() as unknown as Pipeline
          return pipeline[name](keys, ...args)
            .set(`w${key.slice(1)}`, '1', { PX: waitMs })
            .wait(replicas, waitMs)
            .execAsPipeline()
        })
        if (Number(copies) >= replicas) return reply
        throw new ConnectError('It is not known whether this outlasts a failover.', Code.DeadlineExceeded)
      } finally {
        pending -= 1
      }
    }
  }

  const writes = {
    createSession: confirmed('createSession'),
    hDel: confirmed('hDel'),
    revokeSessions: confirmed('revokeSessions')
  }
  return Object.assign(Object.create(redis), writes) as SessionRedis
}

type Write = 'createSession' | 'revokeSessions' | 'hDel'

type Pipeline = Record<Write, (keys: string | string[], ...args: string[]) => Pipeline> & {
  set(key: string, value: string, options: { PX: number }): Pipeline
  wait(replicas: number, timeoutMs: number): Pipeline
  execAsPipeline(): Promise<unknown[]>
}
