/** What logging costs a route: with the log to Kafka, with Kafka down, and without a log, alternating. */

import { join } from 'node:path'
import type { Bench } from './bench.ts'
import { cleanLoad, type LoadResult } from './load.ts'
import { alternate, type Measurement, median, ratios, spread } from './measurement.ts'
import { untilQuiet } from './processes.ts'
import { type Product, startBeside } from './product.ts'

const goal = 0.95
const connections = 32

/** Measures `GET /session` in rounds of all three. The product has Kafka; the other two share its other engines. */
export async function measureLogCost({ product, stores, quick, dataDir }: Bench): Promise<Measurement[]> {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 6, seconds: 5 }
  const withoutKafka = { KAFKA_BROKERS: '127.0.0.1:1' }
  const down = await startBeside(product, join(dataDir, 'kafka-down'), withoutKafka)
  const silent = await startBeside(product, join(dataDir, 'silent'), { ...withoutKafka, LOG_LEVEL: 'silent' })
  try {
    const tokens = await stores.addSessions(200)
    async function ask(variant: Product): Promise<LoadResult> {
      const result = await cleanLoad(variant.route('/session'), { connections, seconds, tokens })
      await untilQuiet(variant)
      return result
    }
    const variants = { up: () => ask(product), down: () => ask(down), silent: () => ask(silent) }
    // The first requests of a process are slower.
    await alternate(1, variants)
    return rows(await alternate(rounds, variants))
  } finally {
    await down.stop()
    await silent.stop()
  }
}

function rows(results: Record<'up' | 'down' | 'silent', LoadResult[]>): Measurement[] {
  const rates = (name: keyof typeof results) => results[name].map(({ requestsPerSecond }) => requestsPerSecond)
  const p99 = (name: keyof typeof results) => results[name].map(({ p99Ms }) => p99Ms)
  const downToUp = ratios(rates('down'), rates('up'))
  const upToSilent = ratios(rates('up'), rates('silent'))
  return [
    {
      what: 'GET /session a second, Kafka down against up',
      goal: `≥ ${goal}`,
      value: spread(downToUp, 2),
      passed: median(downToUp) >= goal,
      from: `${spread(rates('down'))} against ${spread(rates('up'))}, ${connections} connections`,
      figures: { down: rates('down'), up: rates('up'), ratios: downToUp }
    },
    {
      what: 'GET /session p99, Kafka down against up',
      goal: '',
      value: spread(ratios(p99('down'), p99('up')), 2),
      passed: undefined,
      from: `${spread(p99('down'), 1)} ms against ${spread(p99('up'), 1)} ms`
    },
    {
      what: 'GET /session a second, logged to Kafka against no log',
      goal: '',
      value: spread(upToSilent, 2),
      passed: undefined,
      from: `${spread(rates('up'))} against ${spread(rates('silent'))}`,
      figures: { up: rates('up'), silent: rates('silent'), ratios: upToSilent }
    }
  ]
}
