/** The cost of the log: `GET /session` with the log to Kafka, with Kafka down, and without a log, in turn. */

import { join } from 'node:path'
import { alternate, type Measurement, median, ratios, spread } from './measurement.ts'
import type { Part } from './part.ts'
import { untilQuiet } from './processes.ts'
import { type Product, startBeside } from './product.ts'
import { fullLoad } from './wrk.ts'

const goal = 0.95
const connections = 32

type Rates = Record<'up' | 'down' | 'noLog', number[]>

/** Runs three products on the same PostgreSQL and Redis. */
export const measureLogCost: Part = async ({ product, stores, quick, dataDir }) => {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 6, seconds: 5 }
  const withoutKafka = { KAFKA_BROKERS: '127.0.0.1:1' }
  const down = await startBeside(product, join(dataDir, 'kafka-down'), withoutKafka)
  const noLog = await startBeside(product, join(dataDir, 'no-log'), { ...withoutKafka, LOG_LEVEL: 'silent' })
  try {
    const tokens = await stores.addSessions(200)
    async function validate(variant: Product): Promise<number> {
      const { perSecond } = await fullLoad(variant.route('/session'), { connections, seconds, tokens })
      await untilQuiet(variant)
      return perSecond
    }
    const variants = { up: () => validate(product), down: () => validate(down), noLog: () => validate(noLog) }
    // The first requests of a process are slower.
    await alternate(1, variants)
    return rows(await alternate(rounds, variants))
  } finally {
    await down.stop()
    await noLog.stop()
  }
}

function rows(rates: Rates): Measurement[] {
  const downToUp = ratios(rates.down, rates.up)
  const upToNoLog = ratios(rates.up, rates.noLog)
  return [
    {
      name: 'GET /session a second, Kafka down against up',
      goal: `≥ ${goal}`,
      value: spread(downToUp, 2),
      passed: median(downToUp) >= goal,
      details: `${spread(rates.down)} against ${spread(rates.up)}, ${connections} connections`,
      figures: { ...rates, ratios: downToUp }
    },
    {
      name: 'GET /session a second, log to Kafka against no log',
      goal: '',
      value: spread(upToNoLog, 2),
      passed: undefined,
      details: `${spread(rates.up)} against ${spread(rates.noLog)}`
    }
  ]
}
