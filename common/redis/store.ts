/** Redis as the configuration has it: one server, a cluster, or a server that Sentinels guard. */

import type { RedisScripts } from 'redis'
import { ProbeError, reasonOf } from '#common/ops/readiness.ts'
import { withinMs } from '#common/time/timeout.ts'
import { connectCluster } from './cluster.ts'
import { connectionFailure, type NoScripts, type RedisClient, reconnectRedis } from './connection.ts'
import { connectObserved, type RedisConfig, type RedisStore, type RedisStoreOptions, requireReady } from './routing.ts'
import { connectSentinel } from './sentinel.ts'

/** A store that is connecting; it needs no awaiting. Commands to a server that is not connected are refused. */
export function openRedis<S extends RedisScripts = NoScripts>(
  config: RedisConfig,
  options: RedisStoreOptions<S>
): RedisStore<S> {
  if (config.topology === 'cluster') return connectCluster(config, options)
  if (config.topology === 'sentinel') return connectSentinel(config, options)
  const client = connectObserved(config.url, options)
  return {
    redis: client,
    route: async (_key, ask) => ask(requireReady(client)),
    servers: () => [client],
    keyOn: () => '{0}',
    failure: () => connectionFailure(client),
    close: () => client.destroy()
  }
}

const answerWithinMs = 1000

/** What a probe sends to a server, with a key that the server has the slot of. */
export type ProbeCommand<S extends RedisScripts> = (client: RedisClient<S>, key: string) => Promise<unknown>

/**
 * Throws unless a server does what `ask` sends: of a cluster's masters, those that are down are no reason not to use
 * the others. A server is never judged by PING, which it also answers when it refuses every other command.
 *
 * @param ask may throw a ProbeError if the server may not be used at all
 */
export async function probeRedis<S extends RedisScripts>(store: RedisStore<S>, ask: ProbeCommand<S>): Promise<void> {
  const connected = store.servers().filter(({ isReady }) => isReady)
  const looks = await Promise.allSettled(connected.map((client) => askWithin(store, client, ask)))
  const errors = looks.flatMap((look) => (look.status === 'rejected' ? [look.reason] : []))
  const refusal = errors.find((error) => error instanceof ProbeError)
  if (refusal !== undefined) throw refusal
  if (errors.length < looks.length) return
  const failure =
    store.failure() ??
    store
      .servers()
      .map(connectionFailure)
      .find((error) => error !== undefined)
  throw errors[0] ?? failure ?? new ProbeError('cannot be reached')
}

/** Throws unless all masters of a cluster do what `ask` sends. */
export async function probeMasters<S extends RedisScripts>(store: RedisStore<S>, ask: ProbeCommand<S>): Promise<void> {
  const masters = store.servers()
  const down = masters.filter(({ isReady }) => !isReady).length
  if (masters.length === 0) throw store.failure() ?? new ProbeError('no master is known yet')
  if (down > 0) throw new ProbeError(`${down} of ${masters.length} masters cannot be reached`)
  const looks = await Promise.allSettled(masters.map((client) => askWithin(store, client, ask)))
  const errors = looks.flatMap((look) => (look.status === 'rejected' ? [look.reason] : []))
  if (errors.length > 0) {
    throw new ProbeError(`${errors.length} of ${masters.length} masters: ${reasonOf(errors[0])}`)
  }
}

async function askWithin<S extends RedisScripts>(store: RedisStore<S>, client: RedisClient<S>, ask: ProbeCommand<S>) {
  try {
    await withinMs(answerWithinMs, ask(client, store.keyOn(client)))
  } catch (error) {
    // Managed services move the name of the server and keep the connections to the former master.
    if (error instanceof Error && /^READONLY\b/.test(error.message)) reconnectRedis(client, error)
    throw error
  }
}
