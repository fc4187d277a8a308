/** The Redis store of sessions: one connection for reads and one for writes to each server, one more for replicated writes. */

import type { RedisConfig, RedisStore, RedisStoreOptions } from '#common/redis/routing.ts'
import { openRedis } from '#common/redis/store.ts'
import { replicatedWrites } from './replicated-writes.ts'
import { type SessionRedis, sessionScripts } from './scripts.ts'

type Scripts = typeof sessionScripts

/** Its own servers are the connections for reads. */
export interface SessionStore extends RedisStore<Scripts> {
  redis: SessionRedis
  /** The same servers, over the connections for writes. */
  writes: RedisStore<Scripts>
}

/**
 * Opens the store of the configured topology. Reads and writes have connections of their own, because a write that Redis
 * delays (CLIENT PAUSE WRITE) delays all later commands of its connection.
 */
export function openSessionStore(
  config: RedisConfig & { minReplicas: number },
  options: Omit<RedisStoreOptions<Scripts>, 'scripts'>
): SessionStore {
  const reads = openRedis(config, { ...options, scripts: sessionScripts })
  const writes = openRedis(config, { ...options, scripts: sessionScripts })
  const stores = [reads, writes]
  let redis = Object.assign(Object.create(reads.redis), writeCommands(writes.redis)) as SessionRedis
  if (config.minReplicas > 0) {
    const replicated = openRedis(config, { log: options.log, scripts: sessionScripts })
    stores.push(replicated)
    redis = Object.assign(Object.create(redis), replicatedWrites(replicated, config.minReplicas)) as SessionRedis
  }
  function close(): void {
    for (const store of stores) store.close()
  }
  return { ...reads, redis, writes, close }
}

function writeCommands(redis: SessionRedis) {
  return {
    createSession: (...args) => redis.createSession(...args),
    touchSession: (...args) => redis.touchSession(...args),
    revokeSessions: (...args) => redis.revokeSessions(...args),
    deleteSession: (...args) => redis.deleteSession(...args)
  } satisfies Partial<SessionRedis>
}
