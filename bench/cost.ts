/** CPU time of an operation in each program of a product, without the idle share. */

import { setTimeout as sleep } from 'node:timers/promises'
import { figure, median } from './measurement.ts'
import { type CpuName, cpuSeconds, untilQuiet } from './processes.ts'
import type { Product } from './product.ts'

/** CPU time of an operation in µs. */
export type Cost = Record<CpuName, number>

interface CostMeter {
  /** Runs operations, and waits until the services have shipped their log. */
  measure<T>(work: () => Promise<T>, count: (result: T) => number): Promise<{ result: T; cost: Cost }>
}

/** Waits until the products, which share their engines, are idle, and measures their idle share for some seconds. */
export async function createCostMeter(products: readonly Product[], idleSeconds: number): Promise<CostMeter> {
  async function cpuOf<T>(work: () => Promise<T>): Promise<{ result: T; seconds: number; spent: Cost }> {
    const [before, startedAt] = [taken(products), performance.now()]
    const result = await work()
    const [after, seconds] = [taken(products), (performance.now() - startedAt) / 1000]
    return { result, seconds, spent: mapCost(after, (name) => after[name] - before[name]) }
  }
  const quiet = async () => {
    for (const product of products) await untilQuiet(product)
  }

  await quiet()
  const idle = await cpuOf(() => sleep(idleSeconds * 1000))
  return {
    async measure(work, count) {
      const { result, seconds, spent } = await cpuOf(async () => {
        const result = await work()
        await quiet()
        return result
      })
      return { result, cost: costOf(spent, idle.spent, seconds / idle.seconds, count(result)) }
    }
  }
}

/** The µs of one operation, from the CPU seconds of a load and of an idle time; the load lasted `times` as long. */
export function costOf(spent: Cost, idle: Cost, times: number, operations: number): Cost {
  return mapCost(spent, (name) => ((spent[name] - idle[name] * times) / operations) * 1e6)
}

/** The sum over all programs, without the hash threads. */
export function besideHash(cost: Cost): number {
  const { 'hash threads': hash, ...others } = cost
  return Object.values(others).reduce((sum, micros) => sum + micros, 0)
}

/** The sums in ms. */
export function besideHashMs(costs: readonly Cost[]): number[] {
  return costs.map((cost) => besideHash(cost) / 1000)
}

/** The median for each program, in ms. */
export function formatCosts(costs: readonly Cost[]): string {
  const [first] = costs
  if (first === undefined) return ''
  const medians = mapCost(first, (name) => median(costs.map((cost) => cost[name])) / 1000)
  return `${Object.entries(medians)
    .map(([name, ms]) => `${name} ${figure(ms, 3)}`)
    .join(', ')} ms`
}

function taken(products: readonly Product[]): Cost {
  const [first = {} as Cost, ...others] = products.map(cpuSeconds)
  return others.reduce((sum, each) => mapCost(sum, (name) => sum[name] + each[name]), first)
}

function mapCost(cost: Cost, change: (name: CpuName) => number): Cost {
  return Object.fromEntries((Object.keys(cost) as CpuName[]).map((name) => [name, change(name)])) as Cost
}
