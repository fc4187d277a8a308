/** Log-ins a second, against bare bcrypt of the same cost, as many at a time as there are cores. */

import { availableParallelism } from 'node:os'
import type { Part } from './bench.ts'
import { loadLogIns } from './login-load.ts'
import { alternate, completionRate, median, ratios, spread } from './measurement.ts'
import { password, registeredHash } from './population.ts'
import { untilQuiet } from './processes.ts'
import { runScript } from './script.ts'
import { countStatuses } from './storm.ts'

const goal = 0.95
const cores = availableParallelism()
// The hashes never run dry, and the last in the queue still waits less than two seconds.
const clients = 6 * cores
// So many that none comes to as many sessions as one may have.
const accounts = 100 * clients

export const measureLogins: Part = async ({ product, stores, quick }) => {
  const { warmUpSeconds, rounds, seconds } = quick
    ? { warmUpSeconds: 1, rounds: 1, seconds: 4 }
    : { warmUpSeconds: 40, rounds: 6, seconds: 12 }
  const stored = await registeredHash(product, stores)
  await stores.addAccounts('login', 1, accounts, stored)
  const statuses: Record<string, number> = {}

  const url = product.route('/auth')

  async function logIns(forSeconds: number): Promise<number> {
    const answers = await loadLogIns({ url, clients, accounts, seconds: forSeconds, group: 'login', password })
    for (const [status, count] of Object.entries(countStatuses(answers))) {
      statuses[status] = (statuses[status] ?? 0) + count
    }
    await untilQuiet(product)
    const done = answers.filter(([, status]) => status === 200).map(([at]) => at)
    return completionRate(done, clients)
  }

  // V8 optimizes what has run some hundred times, and at so few log-ins a second that takes a while.
  await logIns(warmUpSeconds)
  const rates = await alternate(rounds, { logIns: () => logIns(seconds), bcrypt: () => bareBcrypt(stored, seconds) })
  const each = ratios(rates.logIns, rates.bcrypt)
  const { 200: _, ...refused } = statuses
  return [
    {
      what: 'log-ins a second, against bare bcrypt',
      goal: `≥ ${goal}`,
      value: spread(each, 2),
      passed: median(each) >= goal && Object.keys(refused).length === 0,
      from: `${spread(rates.logIns, 2)} by ${clients} clients against ${spread(rates.bcrypt, 2)} hashes, ${cores} at a time, after ${warmUpSeconds} s of them; answers ${JSON.stringify(statuses)}`,
      figures: { ...rates, ratios: each, statuses }
    }
  ]
}

/** @returns hashes a second, of the cost of a stored hash */
async function bareBcrypt(stored: string, seconds: number): Promise<number> {
  const hash = stored.slice(stored.indexOf('$'))
  const env = { UV_THREADPOOL_SIZE: String(cores) }
  return completionRate(await runScript<number[]>('bare-bcrypt.ts', [hash, String(seconds)], { env }), cores)
}
