/**
 * Probes of a Redis store, by commands that the caller chooses: a server also responds to PING while it rejects all
 * other commands.
 */

import type { RedisScripts } from 'redis'
import { ProbeError, reasonOf } from '#common/ops/probe.ts'
import { connectionFailure, type RedisClient, reconnectRedis } from '#common/redis/connection.ts'
import type { RedisStore } from '#common/redis/routing.ts'
import { withinMs } from '#common/time/timeout.ts'

const probeTimeoutMs = 1000

/** The command that a probe sends to a server, with a key in a slot of the server. */
export type ProbeCommand<S extends RedisScripts> = (client: RedisClient<S>, key: string) => Promise<unknown>

/**
 * Throws unless at least one server responds: the other masters of a cluster are usable while some are down.
 *
 * @param send may throw a ProbeError if the server must not be used at all; then the probe fails
 */
export async function probeRedis<S extends RedisScripts>(store: RedisStore<S>, send: ProbeCommand<S>): Promise<void> {
  const connected = store.servers().filter(({ isReady }) => isReady)
  const errors = await probeErrors(store, connected, send)
  const veto = errors.find((error) => error instanceof ProbeError)
  if (veto !== undefined) throw veto
  if (errors.length < connected.length) return
  const failures = [errors[0], store.failure(), ...store.servers().map(connectionFailure)]
  throw failures.find((error) => error !== undefined) ?? new ProbeError('cannot be reached')
}

/** Throws unless all masters of a cluster respond. */
export async function probeMasters<S extends RedisScripts>(store: RedisStore<S>, send: ProbeCommand<S>): Promise<void> {
  const masters = store.servers()
  const down = masters.filter(({ isReady }) => !isReady).length
  if (masters.length === 0) throw store.failure() ?? new ProbeError('no master is known yet')
  if (down > 0) throw new ProbeError(`${down} of ${masters.length} masters cannot be reached`)
  const errors = await probeErrors(store, masters, send)
  if (errors.length > 0) {
    throw new ProbeError(`${errors.length} of ${masters.length} masters: ${reasonOf(errors[0])}`)
  }
}

async function probeErrors<S extends RedisScripts>(
  store: RedisStore<S>,
  clients: RedisClient<S>[],
  send: ProbeCommand<S>
): Promise<unknown[]> {
  const probes = await Promise.allSettled(clients.map((client) => probeServer(store, client, send)))
  return probes.flatMap((probe) => (probe.status === 'rejected' ? [probe.reason] : []))
}

async function probeServer<S extends RedisScripts>(
  store: RedisStore<S>,
  client: RedisClient<S>,
  send: ProbeCommand<S>
): Promise<void> {
  try {
    await withinMs(probeTimeoutMs, send(client, store.keyOn(client)))
  } catch (error) {
    // Managed services move the name of the server to the new master and keep connections to the former one open.
    if (error instanceof Error && /^READONLY\b/.test(error.message)) reconnectRedis(client, error)
    throw error
  }
}
