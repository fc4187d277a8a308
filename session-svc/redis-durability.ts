/** Redis must not forget a deletion: with snapshots alone, a killed Redis brings ended sessions back. */

import { engineReason } from '#common/errors/engine-reason.ts'
import { ProbeError } from '#common/ops/readiness.ts'

/** What the check asks of a connection. */
interface Inspectable {
  info(section: string): Promise<string>
  configGet(parameter: string): Promise<Record<string, string>>
}

/**
 * Inspects each connection once, and again after it was made anew: then another server may answer.
 *
 * @param mode `assured`: the operator guarantees it, and nothing is inspected
 */
export function createDurabilityCheck(mode: 'check' | 'assured') {
  const durable = new WeakSet<Inspectable>()
  return {
    async require(redis: Inspectable): Promise<void> {
      if (mode === 'assured' || durable.has(redis)) return
      await requireDurability(redis)
      durable.add(redis)
    },
    forget: (redis: Inspectable) => void durable.delete(redis)
  }
}

/**
 * Throws unless Redis either appends every write to a file or keeps nothing at all over a restart,
 * and never evicts keys.
 */
export async function requireDurability(redis: Inspectable): Promise<void> {
  const persistence = await permitted(redis.info('persistence'))
  const info = `${persistence}\n${await permitted(redis.info('memory'))}`
  const field = (name: string) => new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]
  if (field('maxmemory_policy') !== 'noeviction') {
    throw new ProbeError(`maxmemory-policy is ${field('maxmemory_policy')}; sessions need noeviction`)
  }
  if (field('aof_enabled') === '1') return
  const { save } = await permitted(redis.configGet('save'))
  if (save !== '') throw new ProbeError(`appendonly is no with save "${save}": a crash would bring ended sessions back`)
}

const remedy =
  'permit INFO and CONFIG GET to the user (ACL SETUSER <user> +info +config|get), or set redis.durability to assured if Redis keeps every write and never evicts'

/** The reply, or a ProbeError with the remedy if Redis does not permit the command. */
function permitted<T>(reply: Promise<T>): Promise<T> {
  return reply.catch((error) => {
    const refusal = engineReason(error)?.message
    if (refusal === undefined || !/^(NOPERM|ERR unknown)/.test(refusal)) throw error
    throw new ProbeError(`durability cannot be checked, Redis answers "${refusal}": ${remedy}`)
  })
}
