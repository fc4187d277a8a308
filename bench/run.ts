/** The program of `make bench`: measures the product against its own limits, prints a table, and writes bench/results/latest.json. */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureGrowth } from './growth.ts'
import { measureGuessing } from './guessing.ts'
import { measureImports } from './imports.ts'
import { measureLogCost } from './log-cost.ts'
import { measureLoginCost } from './login-cost.ts'
import { measureCheapLogins, measureLogins } from './logins.ts'
import { measureLogouts } from './logouts.ts'
import { busyCores, watchOthers } from './machine.ts'
import { figure, type Measurement, table } from './measurement.ts'
import { measureOpenLoop } from './open-loop.ts'
import type { Bench, Part } from './part.ts'
import { openStores } from './population.ts'
import { startProduct } from './product.ts'
import { measureRegistrations } from './registrations.ts'
import { measureServiceMemory } from './service-memory.ts'
import { measureSessionMemory } from './session-memory.ts'
import { measureSessions } from './sessions.ts'
import { measureSink } from './sink-throughput.ts'
import { measureStart } from './start-time.ts'
import { measureStorm } from './storm.ts'
import { measureUnaryCall } from './unary-call.ts'

// In this order: `service-memory` needs a product without earlier requests, and `growth` leaves millions of rows and keys.
const parts: Record<string, Part> = {
  start: measureStart,
  'service-memory': measureServiceMemory,
  'unary-call': measureUnaryCall,
  logins: measureLogins,
  'logins-10': measureCheapLogins,
  'login-cost': measureLoginCost,
  registrations: measureRegistrations,
  logouts: measureLogouts,
  guessing: measureGuessing,
  sessions: measureSessions,
  'open-loop': measureOpenLoop,
  storm: measureStorm,
  sink: measureSink,
  'log-cost': measureLogCost,
  imports: measureImports,
  'session-memory': measureSessionMemory,
  growth: measureGrowth
}

// Not in a quick run unless ROWS names them.
const slow = ['service-memory', 'logins-10', 'login-cost', 'registrations', 'guessing', 'sink', 'log-cost', 'growth']

const root = join(import.meta.dirname, '..')
process.chdir(root)
const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    rows: { type: 'string', default: '' }
  }
})
const { quick } = values
const defaults = Object.keys(parts).filter((name) => !(quick && slow.includes(name)))
const chosen = values.rows === '' ? defaults : values.rows.split(',')
const unknown = chosen.filter((name) => !(name in parts))
if (unknown.length > 0) fail(`ROWS=${unknown}: must be some of ${Object.keys(parts).join(', ')}, separated by commas`)
if (!existsSync('/proc/self/stat')) fail('make bench reads /proc: run it on Linux')
process.exitCode = await run()

interface Cost {
  seconds: number
  othersTook: number
}

/** @returns 1 if a row missed its goal */
async function run(): Promise<number> {
  const dataDir = join(root, '.data', 'bench')
  rmSync(dataDir, { recursive: true, force: true })
  const startedAt = performance.now()
  const start = () => startProduct(join(dataDir, 'product'))
  // The first start after an installation fills the compile cache.
  if (!quick) await (await start()).stop()
  const product = await start()
  const stores = await openStores(product)
  const rows: Measurement[] = []
  const took: Record<string, Cost> = {}
  try {
    for (const [name, measure] of Object.entries(parts)) {
      if (!chosen.includes(name)) continue
      const { measured, cost } = await runPart(name, measure, { product, stores, quick, dataDir })
      rows.push(...measured)
      took[name] = cost
    }
  } finally {
    await stores.close()
    await product.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }
  const latest = writeResults(Math.round((performance.now() - startedAt) / 1000), took, rows)
  console.log(`${table(rows)}\n\n${latest}`)
  const disturbed = Object.keys(took).filter((name) => (took[name]?.othersTook ?? 0) > busyCores)
  if (disturbed.length > 0)
    console.log(`Unreliable, because other processes kept the machine busy: ${disturbed.join(', ')}`)
  return rows.some(({ passed }) => passed === false) ? 1 : 0
}

async function runPart(name: string, measure: Part, bench: Bench): Promise<{ measured: Measurement[]; cost: Cost }> {
  const startedAt = performance.now()
  const others = watchOthers()
  const measured = await measure(bench)
  const [seconds, cores] = [Math.round((performance.now() - startedAt) / 1000), others()]
  console.log(`-- ${name}: ${seconds} s, other processes took ${figure(cores, 2)} cores\n${table(measured)}\n`)
  return { measured, cost: { seconds, othersTook: Number(cores.toFixed(2)) } }
}

/** @returns the path of the file */
function writeResults(seconds: number, took: Record<string, Cost>, rows: Measurement[]): string {
  const results = join(root, 'bench', 'results')
  const latest = join(results, 'latest.json')
  const machine = { node: process.version, cores: availableParallelism(), processor: cpus()[0]?.model ?? '' }
  const content = { at: new Date().toISOString(), seconds, quick, ...machine, parts: took, rows }
  mkdirSync(results, { recursive: true })
  writeFileSync(latest, `${JSON.stringify(content, undefined, 2)}\n`)
  return latest
}

function fail(reason: string): never {
  console.error(reason)
  process.exit(1)
}
