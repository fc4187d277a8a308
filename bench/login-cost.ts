/** CPU of a login besides its hash, at a rate below the capacity of two cores. */

import { join } from 'node:path'
import { besideHashMs, type Cost, createCostMeter, formatCosts } from './cost.ts'
import { figure, median, spread } from './measurement.ts'
import type { Part } from './part.ts'
import { registeredHash } from './population.ts'
import { startBeside } from './product.ts'
import { type RawResult, rawLoad } from './raw-load.ts'
import { logInRequests } from './requests.ts'

const goalMs = 4.3
const ratePerSecond = 30
const accounts = 1000
// As a share of all logins. A rejection costs CPU too, so with more of them the cost of a login is unknown.
const maxFailed = 0.01

export const measureLoginCost: Part = async ({ product, stores, quick, dataDir }) => {
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 5, rounds: 1, seconds: 8 }
    : { warmUpSeconds: 30, rounds: 3, seconds: 20 }
  const cheap = await startBeside(product, join(dataDir, 'cost-10'), { USER_SVC_PASSWORD_COST: '10' })
  try {
    await stores.addAccounts('login-cost', 1, accounts, await registeredHash(cheap, stores))
    const requests = logInRequests(cheap, 'login-cost', accounts, 2000)
    const load = { url: cheap.route('/auth'), connections: 64, requests, ratePerSecond }
    await rawLoad({ ...load, seconds: warmUpSeconds })
    const meter = await createCostMeter([product, cheap], quick ? 3 : 10)
    const results: RawResult[] = []
    const costs: Cost[] = []
    for (let round = 0; round < rounds; round += 1) {
      const { result, cost } = await meter.measure(
        () => rawLoad({ ...load, seconds }),
        ({ statuses }) => statuses[200] ?? 0
      )
      results.push(result)
      costs.push(cost)
    }
    const ms = besideHashMs(costs)
    const failed = results.reduce((sum, each) => sum + each.requests - (each.statuses[200] ?? 0), 0)
    const isClean = failed <= maxFailed * rounds * seconds * ratePerSecond
    const medianOf = (percent: number) => figure(median(results.map(({ latenciesMs }) => latenciesMs[percent] ?? 0)))
    return [
      {
        name: `CPU of a login besides its hash, ${ratePerSecond}/s, cost 10`,
        goal: `≤ ${goalMs} ms`,
        value: isClean ? `${spread(ms, 2)} ms` : 'unknown: overload',
        passed: isClean ? median(ms) <= goalMs : undefined,
        details: `${formatCosts(costs)}; without the idle share; p50 ${medianOf(50)}, p99 ${medianOf(99)} ms; ${failed === 0 ? 'each 200' : `${figure(failed)} without a 200`}`,
        figures: { costs, results }
      }
    ]
  } finally {
    await cheap.stop()
  }
}
