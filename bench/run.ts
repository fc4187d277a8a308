/** What `make bench` does: measures the product against its own limits, prints a table, and writes it to bench/results/. */

import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Bench, Part } from './bench.ts'
import { measureGrowth } from './growth.ts'
import { measureLogCost } from './log-cost.ts'
import { measureLoginCost } from './login-cost.ts'
import { measureCheapLogins, measureLogins } from './logins.ts'
import { measureLogouts } from './logouts.ts'
import { busyCores, watchOthers } from './machine.ts'
import { figure, type Measurement, table } from './measurement.ts'
import { measureOpenLoop } from './open-loop.ts'
import { openStores } from './population.ts'
import { startProduct } from './product.ts'
import { measureRegistrations } from './registrations.ts'
import { measureServiceMemory } from './service-memory.ts'
import { measureSessionMemory } from './session-memory.ts'
import { measureSessions } from './sessions.ts'
import { measureSink } from './sink-throughput.ts'
import { measureStart } from './start-time.ts'
import { measureStorm } from './storm-rows.ts'
import { measureUnaryCall } from './unary-call.ts'

// In this order; `service-memory` wants a product that nobody has asked for anything, `growth` leaves one that is full.
const parts: Record<string, Part> = {
  start: measureStart,
  'service-memory': measureServiceMemory,
  'unary-call': measureUnaryCall,
  logins: measureLogins,
  'logins-10': measureCheapLogins,
  'login-cost': measureLoginCost,
  registrations: measureRegistrations,
  logouts: measureLogouts,
  sessions: measureSessions,
  'open-loop': measureOpenLoop,
  storm: measureStorm,
  sink: measureSink,
  'log-cost': measureLogCost,
  'session-memory': measureSessionMemory,
  growth: measureGrowth
}

// Left out of a quick run unless they are asked for: they wait for an idle product, fill a topic, or start products of their own.
const slow = ['service-memory', 'logins-10', 'login-cost', 'registrations', 'sink', 'log-cost', 'growth']

const root = join(import.meta.dirname, '..')
process.chdir(root)
const { values } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, rows: { type: 'string', default: '' } }
})
const { quick } = values
const usual = Object.keys(parts).filter((name) => !(quick && slow.includes(name)))
const chosen = values.rows === '' ? usual : values.rows.split(',')
const unknown = chosen.filter((name) => !(name in parts))
if (unknown.length > 0) fail(`ROWS=${unknown.join(',')}: takes ${Object.keys(parts).join(', ')}, with commas between`)
if (!existsSync('/proc/self/stat')) fail('make bench reads /proc, and so needs Linux')
process.exitCode = await run()

/** @returns 1 if a goal was missed */
async function run(): Promise<number> {
  const dataDir = join(root, '.data', 'bench')
  const results = join(root, 'bench', 'results')
  rmSync(dataDir, { recursive: true, force: true })
  mkdirSync(results, { recursive: true })
  const drawn: string[] = []
  const rows: Measurement[] = []
  const took: Record<string, { seconds: number; othersTook: number }> = {}
  const startedAt = performance.now()
  const start = () => startProduct(join(dataDir, 'product'))
  // The first start after an installation compiles what later ones find (`NODE_COMPILE_CACHE`).
  if (!quick) await (await start()).stop()
  const product = await start()
  const stores = await openStores(product)
  const bench: Bench = {
    product,
    stores,
    quick,
    dataDir,
    draw(name, svg) {
      const file = join(results, `${name}.svg`)
      writeFileSync(file, svg)
      drawn.push(file)
    }
  }
  try {
    for (const [name, measure] of Object.entries(parts)) {
      if (!chosen.includes(name)) continue
      const partStartedAt = performance.now()
      const others = watchOthers()
      const measured = await measure(bench)
      const [seconds, cores] = [Math.round((performance.now() - partStartedAt) / 1000), others()]
      rows.push(...measured)
      took[name] = { seconds, othersTook: Number(cores.toFixed(2)) }
      console.log(`-- ${name}: ${seconds} s, others took ${figure(cores, 2)} cores\n${table(measured)}\n`)
    }
  } finally {
    await stores.close()
    await product.stop()
    rmSync(dataDir, { recursive: true, force: true })
  }

  const surroundings = {
    at: new Date().toISOString(),
    seconds: Math.round((performance.now() - startedAt) / 1000),
    quick,
    node: process.version,
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? ''
  }
  const latest = join(results, 'latest.json')
  writeFileSync(latest, `${JSON.stringify({ ...surroundings, parts: took, rows }, undefined, 2)}\n`)
  console.log(`${table(rows)}\n\n${[latest, ...drawn].join('\n')}`)
  const disturbed = Object.keys(took).filter((name) => (took[name]?.othersTook ?? 0) > busyCores)
  if (disturbed.length > 0)
    console.log(`Do not rely on ${disturbed.join(', ')}: others kept the machine busy meanwhile.`)
  return rows.some(({ passed }) => passed === false) ? 1 : 0
}

function fail(why: string): never {
  console.error(why)
  process.exit(1)
}
