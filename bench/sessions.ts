/** `GET /session` at full load, with log and Redis, against a Fastify no-op that logs its requests. */

import { besideHashMs, type Cost, createCostMeter, formatCosts } from './cost.ts'
import { alternate, figure, type Measurement, median, ratios, spread } from './measurement.ts'
import { startNoOp } from './no-op.ts'
import type { Part } from './part.ts'
import { untilQuiet } from './processes.ts'
import { fullLoad } from './wrk.ts'

const goal = 0.5
const goalMs = 0.1
// The number at which both have their highest rate.
const connections = 128
/** The goals for fewer connections, in validations a second. */
const fewConnections: Record<number, number | undefined> = { 64: undefined, 32: 13_000 }
const users = 200

type Rates = Record<'session' | 'noOp', number[]>

export const measureSessions: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 6, seconds: 8 }
  const tokens = await stores.addSessions(users)
  const noOpServer = await startNoOp(bench)
  const costs: Cost[] = []
  const validate = (from = connections) => fullLoad(product.route('/session'), { connections: from, seconds, tokens })
  const noOp = async (from = connections) =>
    (await fullLoad(noOpServer.url, { connections: from, seconds, tokens })).perSecond

  async function measureFew(from: number): Promise<Measurement> {
    async function session(): Promise<number> {
      const { perSecond } = await validate(from)
      // The log must not be shipped during the next measurement.
      await untilQuiet(product)
      return perSecond
    }
    return fewRow(from, await alternate(Math.ceil(rounds / 2), { session, noOp: () => noOp(from) }))
  }

  try {
    await Promise.all([validate(), noOp()])
    const meter = await createCostMeter([product], quick ? 3 : 10)
    async function session(): Promise<number> {
      const { result, cost } = await meter.measure(validate, ({ requests }) => requests)
      costs.push(cost)
      return result.perSecond
    }
    const rates = await alternate(rounds, { session, noOp: () => noOp() })
    const few: Measurement[] = []
    for (const from of quick ? [] : Object.keys(fewConnections).map(Number)) few.push(await measureFew(from))
    return [fullRow(rates), ...few, costRow(costs)]
  } finally {
    await noOpServer.stop()
  }
}

function fullRow(rates: Rates): Measurement {
  const each = ratios(rates.session, rates.noOp)
  return {
    name: 'GET /session a second, against a Fastify no-op',
    goal: `≥ ${goal}`,
    value: spread(each, 2),
    passed: median(each) >= goal,
    details: `${spread(rates.session)} against ${spread(rates.noOp)}, ${connections} connections, ${users} sessions`,
    figures: { ...rates, ratios: each }
  }
}

function fewRow(from: number, rates: Rates): Measurement {
  const goal = fewConnections[from]
  return {
    name: `GET /session a second, ${from} connections`,
    goal: goal ? `≥ ${figure(goal)}` : '',
    value: spread(rates.session),
    passed: goal === undefined ? undefined : median(rates.session) >= goal,
    details: `${spread(ratios(rates.session, rates.noOp), 2)} of the ${spread(rates.noOp)} of a Fastify no-op`,
    figures: rates
  }
}

function costRow(costs: Cost[]): Measurement {
  const ms = besideHashMs(costs)
  return {
    name: 'CPU of a validation at full load',
    goal: `≤ ${goalMs.toFixed(2)} ms`,
    value: `${spread(ms, 3)} ms`,
    passed: median(ms) <= goalMs,
    details: `${formatCosts(costs)}; without the idle share; ${connections} connections`,
    figures: costs
  }
}
