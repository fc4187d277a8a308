/** Opens the Redis store of the configured topology: one server, a cluster, or a server that Sentinels monitor. */

import type { RedisScripts } from 'redis'
import { connectCluster } from './cluster.ts'
import { connectionFailure, type NoScripts } from './connection.ts'
import { connectObserved, type RedisConfig, type RedisStore, type RedisStoreOptions, requireReady } from './routing.ts'
import { connectSentinel } from './sentinel.ts'

/** Starts to connect; callers need not await the connections. Commands to a server that is not connected are rejected. */
export function openRedis<S extends RedisScripts = NoScripts>(
  config: RedisConfig,
  parts: RedisStoreOptions<S>
): RedisStore<S> {
  const options = { ...parts, tls: config.tls }
  if (config.topology === 'cluster') return connectCluster(config, options)
  if (config.topology === 'sentinel') return connectSentinel(config, options)
  const client = connectObserved(config.url, options)
  return {
    redis: client,
    route: async (_key, send) => send(requireReady(client)),
    servers: () => [client],
    keyOn: () => '{0}',
    failure: () => connectionFailure(client),
    close: () => client.destroy()
  }
}
