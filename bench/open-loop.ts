/** Validations at fixed rates: latency from the intended start of each request, and CPU time. */

import { besideHashMs, type Cost, createCostMeter, formatCosts } from './cost.ts'
import { alternate, figure, type Measurement, median, spread } from './measurement.ts'
import { startNoOp } from './no-op.ts'
import type { Part } from './part.ts'
import { type RawResult, rawLoad } from './raw-load.ts'
import { validationRequests } from './requests.ts'

const rates = [2000, 5000, 8000, 10_000]
const goalMs: Record<number, number> = { 2000: 0.2 }
const goalLatencies: Record<number, { p99Ms: number; p999Ms: number }> = { 5000: { p99Ms: 4, p999Ms: 10 } }
const users = 200
// Enough for an idle connection unless the product is a large part of a second late.
const connections = 256

type Results = Record<'session' | 'noOp', RawResult[]>

/** The no-op at the same rate shows the share of the load generator. */
export const measureOpenLoop: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 1, rounds: 1, seconds: 2 }
    : { warmUpSeconds: 15, rounds: 3, seconds: 11 }
  const tokens = await stores.addSessions(users)
  const noOpServer = await startNoOp(bench)
  const send = (url: string, ratePerSecond: number, forSeconds = seconds) =>
    rawLoad({ url, connections, seconds: forSeconds, ratePerSecond, requests: validationRequests(url, tokens) })
  try {
    for (const url of [product.route('/session'), noOpServer.url]) await send(url, 5000, warmUpSeconds)
    const meter = await createCostMeter([product], quick ? 3 : 10)
    const rows: Measurement[] = []
    for (const rate of quick ? rates.slice(0, 2) : rates) {
      const costs: Cost[] = []
      async function session(): Promise<RawResult> {
        const validate = () => send(product.route('/session'), rate)
        const { result, cost } = await meter.measure(validate, ({ statuses }) => statuses[200] ?? 0)
        costs.push(cost)
        return result
      }
      const results = await alternate(rounds, { session, noOp: () => send(noOpServer.url, rate) })
      rows.push(latencyRow(rate, results), costRow(rate, costs))
    }
    return rows
  } finally {
    await noOpServer.stop()
  }
}

const latencies = (results: RawResult[], percent: number) => results.map(({ latenciesMs }) => latenciesMs[percent] ?? 0)

function formatLatencies(results: RawResult[]): string {
  return [50, 99, 99.9].map((percent) => `p${percent} ${spread(latencies(results, percent), 1)}`).join(', ')
}

function latencyRow(rate: number, { session: results, noOp }: Results): Measurement {
  const goal = goalLatencies[rate]
  const failed = results.reduce((sum, each) => sum + each.requests - (each.statuses[200] ?? 0), 0)
  const answered = median(results.map(({ perSecond }) => perSecond))
  const cores = (of: RawResult[]) => figure(median(of.map(({ cpuCores }) => cpuCores)), 2)
  return {
    name: `validation at ${figure(rate)}/s, open loop`,
    goal: goal ? `p99 ≤ ${goal.p99Ms}, p99.9 ≤ ${goal.p999Ms} ms` : '',
    value: `${formatLatencies(results)} ms`,
    passed:
      goal &&
      median(latencies(results, 99)) <= goal.p99Ms &&
      median(latencies(results, 99.9)) <= goal.p999Ms &&
      failed === 0,
    details: `${figure(answered)}/s answered${failed > 0 ? `, ${failed} requests without a 200` : ''}, load generator ${cores(results)} cores; against a Fastify no-op ${formatLatencies(noOp)} ms, ${cores(noOp)} cores`,
    figures: { results, noOp }
  }
}

function costRow(rate: number, costs: Cost[]): Measurement {
  const ms = besideHashMs(costs)
  const goal = goalMs[rate]
  return {
    name: `CPU of a validation at ${figure(rate)}/s`,
    goal: goal ? `≤ ${goal.toFixed(2)} ms` : '',
    value: `${spread(ms, 3)} ms`,
    passed: goal === undefined ? undefined : median(ms) <= goal,
    details: `${formatCosts(costs)}; without the idle share`,
    figures: costs
  }
}
