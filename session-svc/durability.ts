/** Redis must not forget a deletion: with snapshots alone, a killed Redis brings ended sessions back. */

import { ProbeError } from '#common/readiness.ts'

/** What the check asks of a connection. */
interface Inspectable {
  info(section: string): Promise<string>
  configGet(parameter: string): Promise<Record<string, string>>
}

/** Looks at each connection once, and again after it was made anew: then another server may answer. */
export function createDurabilityCheck() {
  const durable = new WeakSet<Inspectable>()
  return {
    async require(redis: Inspectable): Promise<void> {
      if (durable.has(redis)) return
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
  const info = `${await redis.info('persistence')}\n${await redis.info('memory')}`
  const field = (name: string) => new RegExp(`^${name}:([^\\r\\n]*)`, 'm').exec(info)?.[1]
  if (field('maxmemory_policy') !== 'noeviction') {
    throw new ProbeError(`maxmemory-policy is ${field('maxmemory_policy')}; sessions need noeviction`)
  }
  if (field('aof_enabled') === '1') return
  const { save } = await redis.configGet('save').catch(() => ({ save: undefined }))
  if (save === undefined)
    throw new ProbeError('appendonly is off, and CONFIG GET save is not permitted, so nobody knows')
  if (save !== '') throw new ProbeError(`appendonly is no with save "${save}": a crash would bring ended sessions back`)
}
