/** Registrations a second at the default cost, against bare bcrypt of the same cost. */

import { bareHashes } from './bare-hashes.ts'
import { besideHashMs, type Cost, createCostMeter, formatCosts } from './cost.ts'
import { hashingClients } from './logins.ts'
import { alternate, ratios, spread } from './measurement.ts'
import type { Part } from './part.ts'
import { registeredHash } from './population.ts'
import { rawLoad } from './raw-load.ts'
import { registrationRequests } from './requests.ts'

export const measureRegistrations: Part = async ({ product, stores, quick }) => {
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 2, rounds: 1, seconds: 4 }
    : { warmUpSeconds: 15, rounds: 3, seconds: 12 }
  const stored = await registeredHash(product, stores)
  const send = (forSeconds: number) =>
    rawLoad({
      url: product.route('/reg'),
      connections: hashingClients,
      seconds: forSeconds,
      requests: registrationRequests(product, forSeconds * hashingClients * 20),
      sendsEachOnce: true
    })
  await send(warmUpSeconds)
  const meter = await createCostMeter([product], quick ? 3 : 10)
  const costs: Cost[] = []
  const statuses: Record<string, number>[] = []
  async function register(): Promise<number> {
    const { result, cost } = await meter.measure(
      () => send(seconds),
      (each) => each.statuses[201] ?? 0
    )
    costs.push(cost)
    statuses.push(result.statuses)
    return result.perSecond
  }
  const rates = await alternate(rounds, { register, bcrypt: () => bareHashes(stored, seconds) })
  const each = ratios(rates.register, rates.bcrypt)
  return [
    {
      name: 'registrations a second',
      goal: '',
      value: spread(rates.register, 2),
      passed: undefined,
      details: `${hashingClients} clients, cost 12: ${spread(each, 2)} of bare bcrypt; CPU besides the hash ${spread(besideHashMs(costs), 2)} ms: ${formatCosts(costs)}; statuses ${JSON.stringify(statuses)}`,
      figures: { ...rates, ratios: each, costs, statuses }
    }
  ]
}
