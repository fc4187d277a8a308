/** The readiness probes of Redis: whether sessions can be read, and whether they can be created and ended. */

import { ProbeError, reasonOf } from '#common/ops/probe.ts'
import type { Dependency } from '#common/ops/readiness.ts'
import { TimeoutError } from '#common/time/timeout.ts'
import type { sessionScripts } from './scripts.ts'
import { type ProbeCommand, probeMasters, probeRedis } from './server-probes.ts'
import type { SessionStore } from './session-store.ts'

type Command = ProbeCommand<typeof sessionScripts>

/** Every RPC needs it. */
export const readDependency = 'redis'
/** RPCs that create or end sessions need it too. */
export const writeDependency = 'redis-writes'

const delaysWrites = 'does not respond to writes (CLIENT PAUSE, as in a planned failover?)'

const read: Command = (client, key) => client.readSessions([`s:${key}`, `e:${key}`], '')
const end: Command = (client, key) => client.probeEnds([`s:${key}`, `e:${key}`, `s:${key}:agents`])
const create: Command = (client, key) => client.probeCreations([`s:${key}`, `e:${key}`, `s:${key}:agents`])

/**
 * While Redis rejects or delays writes, `redis-writes` is down and the service is ready, because it validates sessions.
 *
 * @param inspect throws a ProbeError if a server must not store sessions
 */
export function redisDependencies(
  store: SessionStore,
  topology: string,
  inspect: (client: Parameters<Command>[0]) => Promise<void>
): Dependency[] {
  async function probeReads(): Promise<void> {
    // Together: on a slow connection, each round trip uses up a part of the time limit.
    await probeRedis(store, (client, key) => Promise.all([read(client, key), inspect(client)]))
  }

  async function probeWrites(): Promise<void> {
    await probeRedis(store.writes, end).catch((error) => {
      throw error instanceof TimeoutError ? new ProbeError(delaysWrites, true) : error
    })
    // Sessions can still be ended, so this error does not make calls fail fast: Redis accepts or rejects each of them.
    await probeRedis(store.writes, create).catch((error) => {
      throw new ProbeError(reasonOf(error))
    })
  }

  async function probeAllMasters(): Promise<void> {
    await probeMasters(store, read)
    await probeMasters(store.writes, create)
  }

  const dependencies: Dependency[] = [
    { name: readDependency, required: 'always', probe: probeReads },
    { name: writeDependency, required: 'never', probe: probeWrites }
  ]
  if (topology === 'cluster') dependencies.push({ name: 'redis-masters', required: 'never', probe: probeAllMasters })
  return dependencies
}
