/** Logouts a second of a few clients, and what one costs. */

import type { Part } from './bench.ts'
import { besideHash, type Cost, createCostMeter, sayCosts } from './cost.ts'
import { alternate, figure, median, ratios, spread } from './measurement.ts'
import { startNoOp } from './no-op.ts'
import { untilQuiet } from './processes.ts'
import { rawLoad } from './raw-load.ts'
import { logOutRequests, validationRequests } from './requests.ts'

const goal = 2300
const clients = 8
// More than the product ends in a second: a round ends early when it has used up its sessions.
const mostPerSecond = 6000

export const measureLogouts: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 1, rounds: 1, seconds: 2 }
    : { warmUpSeconds: 10, rounds: 5, seconds: 6 }
  const failed: Record<string, number> = {}

  async function send(forSeconds: number) {
    const requests = logOutRequests(product, await stores.addSessions(forSeconds * mostPerSecond))
    await untilQuiet(product)
    const url = product.route('/logout')
    return () => rawLoad({ url, connections: clients, seconds: forSeconds, requests, sendsEachOnce: true })
  }

  const noOp = await startNoOp(bench)
  const requests = validationRequests(noOp.url, [''])
  const nothing = async () => (await rawLoad({ url: noOp.url, connections: clients, seconds, requests })).perSecond
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
    const rates = await alternate(rounds, { logOuts, nothing })
    const isClean = Object.keys(failed).length === 0
    return [
      {
        what: `logouts a second, ${clients} clients`,
        goal: `≥ ${figure(goal)}`,
        value: spread(rates.logOuts),
        passed: median(rates.logOuts) >= goal && isClean,
        from: `${isClean ? 'each answered 204' : `others than 204: ${JSON.stringify(failed)}`}; a Fastify no-op: ${spread(rates.nothing)} (ratio ${spread(ratios(rates.logOuts, rates.nothing), 3)})`,
        figures: { ...rates, failed }
      },
      {
        what: 'CPU of a logout',
        goal: '',
        value: `${spread(
          costs.map((cost) => besideHash(cost) / 1000),
          2
        )} ms`,
        passed: undefined,
        from: `${sayCosts(costs)}; without the idle share`,
        figures: costs
      }
    ]
  } finally {
    await noOp.stop()
  }
}
