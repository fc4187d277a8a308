/** The probes of Redis: whether sessions can be read, and whether they can be written. */

import type { Dependency } from '#common/ops/readiness.ts'
import { ProbeError, reasonOf } from '#common/ops/readiness.ts'
import { type ProbeCommand, probeMasters, probeRedis } from '#common/redis/store.ts'
import { TimeoutError } from '#common/time/timeout.ts'
import type { sessionScripts } from './scripts.ts'
import type { SessionStore } from './session-store.ts'

type Probe = ProbeCommand<typeof sessionScripts>

/** What validations need. */
export const readDependency = 'redis'
/** What creations and ends of sessions need besides. */
export const writeDependency = 'redis-writes'

const delaysWrites = 'gives no answer to writes (CLIENT PAUSE, as in a planned failover?)'

const reads: Probe = (client, key) => client.readSessions([`s:${key}`, `e:${key}`], '')
const ends: Probe = (client, key) => client.probeEnds([`s:${key}`, `e:${key}`])
const creations: Probe = (client, key) => client.probeCreations([`s:${key}`, `e:${key}`])

/**
 * Validations are served while Redis refuses or delays writes: the service is then ready, and `redis-writes` is down.
 *
 * @param inspect throws a ProbeError if sessions must not be trusted to a server
 */
export function redisDependencies(
  store: SessionStore,
  topology: string,
  inspect: (client: Parameters<Probe>[0]) => Promise<void>
): Dependency[] {
  async function probeReads(): Promise<void> {
    await probeRedis(store, async (client, key) => {
      await reads(client, key)
      await inspect(client)
    })
  }

  async function probeWrites(): Promise<void> {
    await probeRedis(store.writes, ends).catch((error) => {
      throw error instanceof TimeoutError ? new ProbeError(delaysWrites, true) : error
    })
    // Sessions can still be ended, so calls are not refused here: each is answered by Redis.
    await probeRedis(store.writes, creations).catch((error) => {
      throw new ProbeError(reasonOf(error))
    })
  }

  return [
    { name: readDependency, required: 'always', probe: probeReads },
    { name: writeDependency, required: 'never', probe: probeWrites },
    ...(topology === 'cluster'
      ? [
          {
            name: 'redis-masters',
            required: 'never' as const,
            async probe() {
              await probeMasters(store, reads)
              await probeMasters(store.writes, creations)
            }
          }
        ]
      : [])
  ]
}
