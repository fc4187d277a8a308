/**
 * Response times that could show whether an account exists, over all routes and all kinds of failures: interleaved samples, alone and with the
 * requests of all other routes at the same time. The part `hash-timing` has the kinds whose work differs by less than a usual hash hides. The
 * part `decoys` measures once more without decoys: the measurement must detect that.
 */

import { availableParallelism } from 'node:os'
import type { Condition, Part, PartOptions, Row } from './part.ts'
import { startTimedProduct, type TimedProduct, withoutDecoys } from './timing/accounts.ts'
import { concealedGroup, costGroup, emailGroups, loginGroup, type Preparation } from './timing/groups.ts'
import { passwordGroups, refusedGroups } from './timing/password-groups.ts'
import { type Comparison, describe, type Group, isSeparable, sampleGroup } from './timing/sampling.ts'
import { tokenGroups } from './timing/token-groups.ts'

// At the lowest cost, the hash hides the least. The usual one is below the default, and most of the response time.
const [lowestCost, usualCost, defaultCost] = [4, 8, 12]
// A hash of the default cost takes about 0.2 s.
const defaultCostSamples = 1000

export const measureTimes: Part = async (options) => {
  const preparation = await prepare(options, lowestCost)
  const groups = [
    await loginGroup(preparation),
    ...(await passwordGroups(preparation)),
    ...(await emailGroups(preparation)),
    ...(await tokenGroups(preparation))
  ]
  return measure(preparation.product, groups, options)
}

export const measureHashTimes: Part = async (options) => {
  const ofOlderCost = { ...options, samples: Math.min(options.samples, defaultCostSamples) }
  const rows = await measure((await prepare(ofOlderCost, defaultCost)).product, [costGroup()], ofOlderCost)
  const preparation = await prepare(options, usualCost)
  const { product } = preparation
  rows.push(...(await measure(product, await refusedGroups(preparation), options)))
  await product.restartUserSvc({
    USER_SVC_REGISTRATION_CONCEAL_TAKEN: 'true',
    USER_SVC_REQUIRE_VERIFIED_EMAIL: 'true'
  })
  rows.push(...(await measure(product, [concealedGroup()], options)))
  return rows
}

/** A product with as many accounts as the requests need. */
async function prepare({ t, samples, conditions }: PartOptions, cost: number): Promise<Preparation> {
  // The first group is measured alone, and twice with all others.
  const times = (conditions.includes('alone') ? 1 : 0) + (conditions.includes('loaded') ? 2 : 0)
  const product = await startTimedProduct(t, { cost, accounts: times * samples + 1000 })
  return { product, count: times * (samples + 200) }
}

async function measure({ port }: TimedProduct, groups: Group[], options: PartOptions): Promise<Row[]> {
  const { samples: count, signal, print, conditions } = options
  print(`${count} samples of each kind, on ${availableParallelism()} cores`)
  const rows: Row[] = []
  const sample = (group: Group) => sampleGroup(group, { count, port, signal })
  if (conditions.includes('alone')) {
    for (const group of groups) rows.push(...report('alone', await sample(group), options))
  }
  if (!conditions.includes('loaded')) return rows
  const together = await Promise.all([...groups, ...groups.slice(0, 1)].map(sample))
  rows.push(...together.slice(0, groups.length).flatMap((each) => report('loaded', each, options)))
  return rows
}

function report(condition: Condition, comparisons: Comparison[], { print }: PartOptions): Row[] {
  return comparisons.map((comparison) => {
    const details = describe(comparison)
    const name = `${comparison.group}, ${comparison.kind}, ${condition}`
    print(`${name}: ${details}`)
    return { name, outcome: isSeparable(comparison) ? 'failed' : 'passed', details }
  })
}

interface Detection {
  cost: number
  /** Samples of each kind. */
  count: number
  group: (preparation: Preparation) => Group | Promise<Group>
  kinds: string[]
  /** Removed, too, because they hide the missing decoy. */
  alsoRemoved?: string[]
}

const firstOf = (groups: Group[]) => groups[0] as Group

/** Kinds that must be separable without the decoy, or the least durations, of this name. */
const detected: Record<string, Detection> = {
  hashes: { cost: usualCost, count: 200, group: costGroup, kinds: ['wrong password', 'hash of an older cost'] },
  costs: { cost: usualCost, count: 200, group: costGroup, kinds: ['hash of an older cost'] },
  emails: {
    cost: lowestCost,
    count: 2000,
    group: async (preparation) => firstOf(await emailGroups(preparation)),
    kinds: ['known'],
    alsoRemoved: ['durations']
  },
  durations: {
    cost: lowestCost,
    count: 1000,
    group: async (preparation) => firstOf(await refusedGroups(preparation)),
    kinds: ['refused account', 'refused account, unknown address']
  }
}

export const detectMissingDecoys: Part = async (options) => {
  const rows: Row[] = []
  for (const [decoy, { cost, count, group, kinds, alsoRemoved = [] }] of Object.entries(detected)) {
    const userSvc = withoutDecoys(decoy, ...alsoRemoved)
    const product = await startTimedProduct(options.t, { cost, accounts: count + 1000, userSvc })
    const sampled = await group({ product, count })
    const comparisons = await sampleGroup(sampled, { count, port: product.port, signal: options.signal })
    for (const comparison of comparisons.filter(({ kind }) => kinds.includes(kind))) {
      const details = describe(comparison)
      const name = `without the decoy (${decoy}), ${comparison.kind} is separable`
      options.print(`${name}: ${details}`)
      rows.push({ name, outcome: isSeparable(comparison) ? 'passed' : 'failed', details })
    }
  }
  return rows
}
