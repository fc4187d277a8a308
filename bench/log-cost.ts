/** What logging costs a route: with the log to Kafka, with Kafka down, and without a log, alternating. */

import { join } from 'node:path'
import { type LoadResult, load } from './load.ts'
import { type Measurement, median, spread } from './measurement.ts'
import { type Product, startProduct } from './product.ts'

const goal = 0.95

/** Measures `GET /session` in `rounds` rounds of all three. `product` has Kafka; the other two share its other engines. */
export async function measureLogCost(
  product: Product,
  { rounds, seconds, connections }: { rounds: number; seconds: number; connections: number }
): Promise<Measurement[]> {
  const engines = {
    USER_SVC_POSTGRES_URL: withPassword(
      product.address('postgres', /^PostgreSQL/),
      'auth',
      product.secret('postgres-password')
    ),
    REDIS_URL: withPassword(product.address('redis', /^Redis/), '', product.secret('redis-password'))
  }
  const nobody = { ...engines, KAFKA_BROKERS: '127.0.0.1:1' }
  const down = await startProduct(join(product.dataDir, 'kafka-down'), nobody)
  const silent = await startProduct(join(product.dataDir, 'silent'), { ...nobody, LOG_LEVEL: 'silent' })
  try {
    const variants = { up: product, down, silent }
    const token = await register(product)
    const results: Record<keyof typeof variants, LoadResult[]> = { up: [], down: [], silent: [] }
    for (let round = 0; round <= rounds; round += 1) {
      for (const [name, variant] of Object.entries(variants) as [keyof typeof variants, Product][]) {
        const url = `${variant.address('gateway', /^REST/)}/session`
        const result = await load(url, { authorization: `Bearer ${token}` }, { connections, seconds })
        if (result.other > 0) throw new Error(`${name}: ${result.other} requests were not answered with 200`)
        // The first round warms up.
        if (round > 0) results[name].push(result)
      }
    }
    return rows(results)
  } finally {
    await down.stop()
    await silent.stop()
  }
}

function rows(results: Record<'up' | 'down' | 'silent', LoadResult[]>): Measurement[] {
  const rates = (name: keyof typeof results) => results[name].map(({ requestsPerSecond }) => requestsPerSecond)
  const p99 = (name: keyof typeof results) => results[name].map(({ p99Ms }) => p99Ms)
  const ratio = (of: keyof typeof results, against: keyof typeof results) => median(rates(of)) / median(rates(against))
  const downToUp = ratio('down', 'up')
  return [
    {
      what: 'GET /session a second, Kafka down against up',
      goal: `≥ ${goal}`,
      value: downToUp.toFixed(2),
      passed: downToUp >= goal,
      from: `${spread(rates('down'))} against ${spread(rates('up'))}`
    },
    {
      what: 'GET /session p99, Kafka down against up',
      goal: '',
      value: (median(p99('down')) / median(p99('up'))).toFixed(2),
      passed: undefined,
      from: `${spread(p99('down'))} ms against ${spread(p99('up'))} ms`
    },
    {
      what: 'GET /session a second, logged to Kafka against no log',
      goal: '',
      value: ratio('up', 'silent').toFixed(2),
      passed: undefined,
      from: `${spread(rates('up'))} against ${spread(rates('silent'))}`
    }
  ]
}

async function register(product: Product): Promise<string> {
  const response = await fetch(`${product.address('gateway', /^REST/)}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: `bench-${Date.now()}@example.org`, password: 'correct horse battery staple' })
  })
  const { session } = (await response.json()) as { session: { token: string } }
  return session.token
}

function withPassword(address: string, user: string, password: string): string {
  const url = new URL(address)
  url.username = user
  url.password = password
  return url.href
}
