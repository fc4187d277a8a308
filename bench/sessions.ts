/** `GET /session` a second with everything that belongs to it, against a Fastify no-op that logs its requests. */

import type { Part } from './bench.ts'
import { besideHash, type Cost, createCostMeter, sayCosts } from './cost.ts'
import { cleanLoad } from './load.ts'
import { alternate, figure, type Measurement, median, ratios, spread } from './measurement.ts'
import { startNoOp } from './no-op.ts'
import { untilQuiet } from './processes.ts'
import { runScript } from './script.ts'

const goal = 0.5
const goalMs = 0.1
// Both answer most requests a second there: fewer leave processors idle, of more each is dearer.
const connections = 128
/** Validations a second that fewer connections should get. */
const fewConnections: Record<number, number | undefined> = { 64: undefined, 32: 13_000 }
const users = 200

type Rates = Record<'session' | 'nothing', number[]>

export const measureSessions: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 6, seconds: 8 }
  const tokens = await stores.addSessions(users)
  const noOp = await startNoOp(bench)
  const costs: Cost[] = []

  async function nothing(from = connections): Promise<number> {
    return (await cleanLoad(noOp.url, { connections: from, seconds, tokens })).requestsPerSecond
  }
  const ask = (from = connections) => cleanLoad(product.route('/session'), { connections: from, seconds, tokens })
  async function session(from: number): Promise<number> {
    const { requestsPerSecond } = await ask(from)
    // The log lines that are left to ship must not fall to the next measurement.
    await untilQuiet(product)
    return requestsPerSecond
  }
  const redis = () =>
    runScript<number>('bare-redis.ts', [String(seconds / 2)], { env: { REDIS_URL: product.engineUrl('redis') } })

  try {
    await Promise.all([ask(), nothing()])
    const meter = await createCostMeter([product], quick ? 3 : 10)
    async function costlySession(): Promise<number> {
      const { result, cost } = await meter.measure(ask, ({ requests }) => requests)
      costs.push(cost)
      return result.requestsPerSecond
    }
    const rates = await alternate(rounds, { session: costlySession, nothing: () => nothing(), redis })
    const each = ratios(rates.session, rates.nothing)
    const few: Measurement[] = []
    for (const from of quick ? [] : Object.keys(fewConnections).map(Number)) {
      const variants = { session: () => session(from), nothing: () => nothing(from) }
      few.push(rowOfFew(from, await alternate(Math.ceil(rounds / 2), variants)))
    }
    const ms = costs.map((cost) => besideHash(cost) / 1000)
    return [
      {
        what: 'GET /session a second, against a Fastify no-op',
        goal: `≥ ${goal}`,
        value: spread(each, 2),
        passed: median(each) >= goal,
        from: `${spread(rates.session)} against ${spread(rates.nothing)}, ${connections} connections, ${users} sessions; bare Redis GET by the same client: ${spread(rates.redis)}`,
        figures: { ...rates, ratios: each }
      },
      ...few,
      {
        what: 'CPU of a validation at full load',
        goal: `≤ ${goalMs.toFixed(2)} ms`,
        value: `${spread(ms, 3)} ms`,
        passed: median(ms) <= goalMs,
        from: `${sayCosts(costs)}; without the idle share; ${connections} connections`,
        figures: costs
      }
    ]
  } finally {
    await noOp.stop()
  }
}

function rowOfFew(from: number, rates: Rates): Measurement {
  const goal = fewConnections[from]
  return {
    what: `GET /session a second, ${from} connections`,
    goal: goal ? `≥ ${figure(goal)}` : '',
    value: spread(rates.session),
    passed: goal === undefined ? undefined : median(rates.session) >= goal,
    from: `${spread(ratios(rates.session, rates.nothing), 2)} of ${spread(rates.nothing)} of a Fastify no-op`,
    figures: rates
  }
}
