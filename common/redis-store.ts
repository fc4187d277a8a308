/** Redis as the configuration has it: one server, a cluster, or a server that Sentinels guard. */

import type { RedisScripts } from 'redis'
import { ProbeError } from './readiness.ts'
import type { NoScripts, RedisClient } from './redis.ts'
import { connectCluster } from './redis-cluster.ts'
import { type RedisConfig, type RedisStore, type RedisStoreOptions, requireReady, watched } from './redis-commands.ts'
import { connectSentinel } from './redis-sentinel.ts'
import { withinMs } from './time-limit.ts'

/** A store that is connecting; it needs no awaiting. Commands to a server that is not connected are refused. */
export function openRedis<S extends RedisScripts = NoScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  if (config.topology === 'cluster') return connectCluster(config, options)
  if (config.topology === 'sentinel') return connectSentinel(config, options)
  const client = watched(config.url, options)
  return {
    redis: client,
    route: async (_key, ask) => ask(requireReady(client)),
    servers: () => [client],
    close: () => client.destroy()
  }
}

const answerWithinMs = 1000

/**
 * Throws unless a server works: of a cluster's masters, those that are away are no reason not to use the others.
 *
 * @param inspect looks at each server that answers, and throws a ProbeError if it may not be used at all
 */
export async function probeRedis<S extends RedisScripts>(
  store: RedisStore<S>,
  config: Pick<RedisConfig, 'topology'>,
  inspect: (client: RedisClient<S>) => Promise<void> = async () => {}
): Promise<void> {
  const connected = store.servers().filter(({ isReady }) => isReady)
  const looks = await Promise.allSettled(
    connected.map((client) =>
      withinMs(
        answerWithinMs,
        works(client, config).then(() => inspect(client))
      )
    )
  )
  const errors = looks.flatMap((look) => (look.status === 'rejected' ? [look.reason] : []))
  const refusal = errors.find((error) => error instanceof ProbeError)
  if (refusal !== undefined) throw refusal
  if (errors.length === looks.length) throw errors[0] ?? new ProbeError('cannot be reached')
}

/** Throws if any master of a cluster is away. */
export async function probeMasters<S extends RedisScripts>(store: RedisStore<S>): Promise<void> {
  const masters = store.servers()
  const away = masters.filter(({ isReady }) => !isReady).length
  if (masters.length === 0 || away > 0) throw new ProbeError(`${away} of ${masters.length} masters cannot be reached`)
}

async function works<S extends RedisScripts>(client: RedisClient<S>, { topology }: Pick<RedisConfig, 'topology'>) {
  if (topology !== 'cluster') return void (await client.ping())
  const info = String(await client.sendCommand(['CLUSTER', 'INFO']))
  if (!info.includes('cluster_state:ok')) throw new Error('CLUSTERDOWN as the server says')
}
