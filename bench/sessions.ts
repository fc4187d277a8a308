/** `GET /session` a second with everything that belongs to it, against a Fastify no-op that logs its requests. */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Part } from './bench.ts'
import { cleanLoad } from './load.ts'
import { alternate, figure, type Measurement, median, ratios, spread } from './measurement.ts'
import { cpuBetween, cpuSeconds, type ProgramName, untilQuiet } from './processes.ts'
import { runScript } from './script.ts'

const goal = 0.5
// Both answer most requests a second there: fewer leave processors idle, of more each is dearer.
const connections = 128
const fewConnections = 64
const users = 200
const counted: ProgramName[] = ['gateway', 'session-svc', 'redis', 'log-sink', 'kafka']

export const measureSessions: Part = async ({ product, stores, quick, dataDir }) => {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 3 } : { rounds: 6, seconds: 8 }
  const tokens = await stores.addSessions(users)
  const noOp = await startNoOp(join(dataDir, 'no-op.log'))
  const cpuMicros: Record<string, number[]> = Object.fromEntries(counted.map((name) => [name, []]))

  async function nothing(from = connections): Promise<number> {
    return (await cleanLoad(`${noOp.url}/session`, { connections: from, seconds, tokens })).requestsPerSecond
  }
  async function session(from = connections): Promise<number> {
    const before = cpuSeconds(product)
    const result = await cleanLoad(product.route('/session'), { connections: from, seconds, tokens })
    // What is left to ship is part of the cost, and must not fall to whoever is measured next.
    await untilQuiet(product)
    const spent = cpuBetween(before, cpuSeconds(product))
    if (from === connections) for (const name of counted) cpuMicros[name]?.push((spent[name] / result.requests) * 1e6)
    return result.requestsPerSecond
  }
  const redis = () =>
    runScript<number>('bare-redis.ts', [String(seconds / 2)], { env: { REDIS_URL: product.engineUrl('redis') } })

  try {
    await Promise.all([session(), nothing()])
    for (const each of Object.values(cpuMicros)) each.pop()
    const rates = await alternate(rounds, { session: () => session(), nothing: () => nothing(), redis })
    const each = ratios(rates.session, rates.nothing)
    const fewRates = await alternate(quick ? 0 : rounds / 2, {
      session: () => session(fewConnections),
      nothing: () => nothing(fewConnections)
    })
    const cpu = counted.map((name) => ({ name, micros: cpuMicros[name] ?? [] }))
    const total = rates.session.map((_, round) => cpu.reduce((sum, { micros }) => sum + (micros[round] ?? 0), 0))
    return [
      {
        what: 'GET /session a second, against a Fastify no-op',
        goal: `≥ ${goal}`,
        value: spread(each, 2),
        passed: median(each) >= goal,
        from: `${spread(rates.session)} against ${spread(rates.nothing)}, ${connections} connections, ${users} sessions; bare Redis GET by the same client: ${spread(rates.redis)}`,
        figures: { ...rates, ratios: each }
      },
      ...(quick ? [] : [rowOfFew(fewRates)]),
      {
        what: 'time of the processor for a GET /session',
        goal: '',
        value: `${figure(median(total))} µs`,
        passed: undefined,
        from: cpu.map(({ name, micros }) => `${name} ${spread(micros)}`).join(', '),
        figures: cpuMicros
      }
    ]
  } finally {
    await noOp.stop()
  }
}

function rowOfFew(rates: Record<'session' | 'nothing', number[]>): Measurement {
  return {
    what: `the same of ${fewConnections} connections`,
    goal: '',
    value: spread(ratios(rates.session, rates.nothing), 2),
    passed: undefined,
    from: `${spread(rates.session)} against ${spread(rates.nothing)}`,
    figures: rates
  }
}

async function startNoOp(logFile: string): Promise<{ url: string; stop(): Promise<void> }> {
  const script = join(import.meta.dirname, 'no-op-server.ts')
  const child = spawn(process.execPath, [script, logFile], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const [url] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return {
    url,
    async stop() {
      child.kill()
      await exited
    }
  }
}
