/** Logins a second, against bare bcrypt of the same cost on all cores. */

import { join } from 'node:path'
import { bareHashes, cores } from './bare-hashes.ts'
import { alternate, type Measurement, median, ratios, spread } from './measurement.ts'
import type { Bench, Part } from './part.ts'
import { registeredHash } from './population.ts'
import { untilQuiet } from './processes.ts'
import { type Product, startBeside } from './product.ts'
import { type RawResult, rawLoad, sumStatuses } from './raw-load.ts'
import { logInRequests } from './requests.ts'

const goals = { 10: 0.92, 12: 0.97 }
/** Enough to keep the hash queue filled; its last request waits less than two seconds. */
export const hashingClients = 6 * cores
// Enough to keep each account below its maximum of sessions.
const accounts = 100 * hashingClients

/** At the product's default cost. */
export const measureLogins: Part = async (bench) => [await measureAt(12, bench.product, bench)]

/** At the default cost of other products, where the hash has a smaller share of the CPU. */
export const measureCheapLogins: Part = async (bench) => {
  const cheap = await startBeside(bench.product, join(bench.dataDir, 'cost-10'), { USER_SVC_PASSWORD_COST: '10' })
  try {
    return [await measureAt(10, cheap, bench)]
  } finally {
    await cheap.stop()
  }
}

async function measureAt(cost: keyof typeof goals, product: Product, { stores, quick }: Bench): Promise<Measurement> {
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 1, rounds: 1, seconds: 4 }
    : { warmUpSeconds: cost === 10 ? 20 : 40, rounds: 6, seconds: 12 }
  const stored = await registeredHash(product, stores)
  const group = `login-${cost}`
  await stores.addAccounts(group, 1, accounts, stored)
  const requests = logInRequests(product, group, accounts, 5000)
  const results: RawResult[] = []

  async function logIns(forSeconds: number): Promise<number> {
    const load = { url: product.route('/auth'), connections: hashingClients, seconds: forSeconds, requests }
    const result = await rawLoad(load)
    results.push(result)
    await untilQuiet(product)
    return result.perSecond
  }

  // V8 optimizes code after some hundred runs, which takes a while at so few logins a second.
  await logIns(warmUpSeconds)
  const rates = await alternate(rounds, { logIns: () => logIns(seconds), bcrypt: () => bareHashes(stored, seconds) })
  const each = ratios(rates.logIns, rates.bcrypt)
  const statuses = sumStatuses(results)
  const { 200: _, ...failed } = statuses
  return {
    name: `logins a second, against bare bcrypt, cost ${cost}`,
    goal: `≥ ${goals[cost]}`,
    value: spread(each, 2),
    passed: median(each) >= goals[cost] && Object.keys(failed).length === 0,
    details: `${spread(rates.logIns, 2)} by ${hashingClients} clients against ${spread(rates.bcrypt, 2)} hashes, ${cores} at a time, after ${warmUpSeconds} s of logins; statuses ${JSON.stringify(statuses)}`,
    figures: { ...rates, ratios: each, statuses }
  }
}
