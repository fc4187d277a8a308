/** What `make bench` does: measures the product against its own limits, prints a table, and writes it to bench/results/. */

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { measureLogCost } from './log-cost.ts'
import { type Measurement, table } from './measurement.ts'
import { startProduct } from './product.ts'
import { measureSink } from './sink-throughput.ts'

const root = join(import.meta.dirname, '..')
process.chdir(root)
const quick = process.argv.includes('--quick')
const dataDir = join(root, '.data', 'bench')
const results = join(root, 'bench', 'results')

rmSync(dataDir, { recursive: true, force: true })
const product = await startProduct(dataDir)
const rows: Measurement[] = []
try {
  const size = quick ? { lines: 300_000, runs: 1 } : { lines: 2_000_000, runs: 3 }
  console.log(`a backlog of ${size.lines.toLocaleString('en-US')} lines, collected by one sink`)
  rows.push(
    ...(await measureSink({ brokers: product.address('kafka', /^Kafka/).split(','), directory: dataDir }, size))
  )
  console.log('GET /session, with the log and without')
  const load = quick ? { rounds: 1, seconds: 3, connections: 32 } : { rounds: 5, seconds: 5, connections: 32 }
  rows.push(...(await measureLogCost(product, load)))
} finally {
  await product.stop()
  rmSync(dataDir, { recursive: true, force: true })
}

console.log(`\n${table(rows)}\n`)
mkdirSync(results, { recursive: true })
const surroundings = { at: new Date().toISOString(), node: process.version, cores: availableParallelism(), quick }
writeFileSync(join(results, 'latest.json'), `${JSON.stringify({ ...surroundings, rows }, undefined, 2)}\n`)
process.exitCode = rows.some(({ passed }) => passed === false) ? 1 : 0
