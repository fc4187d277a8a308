/** Checks that Redis never loses the end of a session: with snapshots alone, a killed Redis restores ended sessions. */

import { engineReason } from '#common/errors/engine-reason.ts'
import { ProbeError } from '#common/ops/probe.ts'
import { type Clock, systemClock } from '#common/time/clock.ts'

interface Inspectable {
  info(section: string): Promise<string>
  configGet(parameter: string): Promise<Record<string, string>>
}

// An operator can change the settings of a running server (`CONFIG SET appendonly no`).
const inspectAgainMs = 10_000

/**
 * Inspects each connection at its first use, then every ten seconds.
 *
 * @param mode `assured`: the operator guarantees durability; nothing is inspected
 */
export function createDurabilityCheck(mode: 'check' | 'assured', clock: Pick<Clock, 'now'> = systemClock) {
  const durable = new WeakMap<Inspectable, { inspectedAt: number; appends: boolean }>()
  return {
    async require(redis: Inspectable): Promise<void> {
      const known = durable.get(redis)
      if (mode === 'assured' || (known && clock.now() - known.inspectedAt < inspectAgainMs)) return
      const appends = await requireDurability(redis)
      if (known?.appends && !appends) {
        throw new ProbeError('appendonly was turned off while Redis ran: its next start would restore ended sessions')
      }
      durable.set(redis, { inspectedAt: clock.now(), appends })
    },
    /** After a reconnection, which may lead to another server. */
    forget: (redis: Inspectable) => void durable.delete(redis)
  }
}

/**
 * Throws a ProbeError unless Redis never evicts keys and either appends every write to a file or has no persistence.
 *
 * @returns whether it appends every write to a file
 */
export async function requireDurability(redis: Inspectable): Promise<boolean> {
  const sections = ['persistence', 'memory'].map((section) => permitted(redis.info(section)))
  const info = (await Promise.all(sections)).join('\n')
  const field = (name: string) => new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]
  if (field('maxmemory_policy') !== 'noeviction') {
    throw new ProbeError(`maxmemory-policy is ${field('maxmemory_policy')}; sessions need noeviction`)
  }
  if (field('aof_enabled') === '1') return true
  const { save } = await permitted(redis.configGet('save'))
  if (save !== '') throw new ProbeError(`appendonly is no with save "${save}": a crash would restore ended sessions`)
  return false
}

const remedy =
  'permit the user INFO and CONFIG GET (ACL SETUSER <user> +info +config|get), or set redis.durability to assured if Redis keeps every write and never evicts'

/** Returns the reply; throws a ProbeError with the remedy if Redis does not permit the command. */
function permitted<T>(reply: Promise<T>): Promise<T> {
  return reply.catch((error) => {
    const refusal = engineReason(error)?.message
    if (refusal === undefined || !/^(NOPERM|ERR unknown)/.test(refusal)) throw error
    throw new ProbeError(`durability cannot be checked, Redis answers "${refusal}": ${remedy}`)
  })
}
