/** Logouts a second of a few clients, and the CPU of a logout. */

import { besideHashMs, type Cost, createCostMeter, formatCosts } from './cost.ts'
import { alternate, figure, median, ratios, spread } from './measurement.ts'
import { startNoOp } from './no-op.ts'
import type { Part } from './part.ts'
import { untilQuiet } from './processes.ts'
import { rawLoad } from './raw-load.ts'
import { logOutRequests, validationRequests } from './requests.ts'

const goal = 2300
const clients = 8
// More than the product can end: a round would end early without sessions.
const maxPerSecond = 6000

export const measureLogouts: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 1, rounds: 1, seconds: 2 }
    : { warmUpSeconds: 10, rounds: 5, seconds: 6 }
  const failed: Record<string, number> = {}

  async function send(forSeconds: number) {
    const requests = logOutRequests(product, await stores.addSessions(forSeconds * maxPerSecond))
    await untilQuiet(product)
    const url = product.route('/logout')
    return () => rawLoad({ url, connections: clients, seconds: forSeconds, requests, sendsEachOnce: true })
  }

  const noOpServer = await startNoOp(bench)
  const requests = validationRequests(noOpServer.url, [''])
  const noOp = async () => (await rawLoad({ url: noOpServer.url, connections: clients, seconds, requests })).perSecond
  try {
    await (await send(warmUpSeconds))()
    const meter = await createCostMeter([product], quick ? 3 : 10)
    const costs: Cost[] = []
    async function logOuts(): Promise<number> {
      const { result, cost } = await meter.measure(await send(seconds), (each) => each.statuses[204] ?? 0)
      costs.push(cost)
      const { 204: _, ...others } = result.statuses
      for (const [status, count] of Object.entries(others)) failed[status] = (failed[status] ?? 0) + count
      return result.perSecond
    }
    const rates = await alternate(rounds, { logOuts, noOp })
    const isClean = Object.keys(failed).length === 0
    return [
      {
        name: `logouts a second, ${clients} clients`,
        goal: `≥ ${figure(goal)}`,
        value: spread(rates.logOuts),
        passed: median(rates.logOuts) >= goal && isClean,
        details: `${isClean ? 'each 204' : `other statuses: ${JSON.stringify(failed)}`}; a Fastify no-op: ${spread(rates.noOp)} (ratio ${spread(ratios(rates.logOuts, rates.noOp), 3)})`,
        figures: { ...rates, failed }
      },
      {
        name: 'CPU of a logout',
        goal: '',
        value: `${spread(besideHashMs(costs), 2)} ms`,
        passed: undefined,
        details: `${formatCosts(costs)}; without the idle share`,
        figures: costs
      }
    ]
  } finally {
    await noOpServer.stop()
  }
}
