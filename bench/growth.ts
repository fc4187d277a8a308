/** How cost grows with sessions and accounts: nothing but memory may grow more than logarithmically. */

import { join } from 'node:path'
import type { Bench, Part } from './bench.ts'
import { lineChart } from './chart.ts'
import { cleanLoad } from './load.ts'
import { figure, type Measurement, median, spread } from './measurement.ts'
import { password, registeredHash } from './population.ts'
import { type CpuName, cpuSeconds, untilQuiet } from './processes.ts'
import { startBeside } from './product.ts'
import { measureRevocation } from './revocation.ts'
import { usedMemory } from './session-memory.ts'
import { countStatuses, storm } from './storm.ts'

// From the least to the most it is a factor of 100: the logarithm itself grows by half.
const mostGrowth = 2

/** What something costs at a size. */
interface Step {
  size: number
  /** Time of the processor in µs, round by round, in all programs that have a part in it. */
  cpuMicros: number[]
  perSecond: number[]
}

export const measureGrowth: Part = async (bench) => {
  const sizes = bench.quick ? [1000, 10_000, 50_000] : [10_000, 100_000, 1_000_000]
  const validations = await measureValidations(bench, sizes)
  const logIns = await measureLogIns(bench, sizes)
  const curve = (steps: Step[]) => steps.map(({ size, cpuMicros }): [number, number] => [size, median(cpuMicros)])
  bench.draw(
    'growth',
    lineChart({
      title: 'What a request costs as the data grow',
      subtitle: 'time of the processor in all services and engines that have a part in it, the log aside',
      x: { label: 'live sessions, or accounts', scale: 'log' },
      y: { label: 'microseconds a request', scale: 'log' },
      series: [
        { name: 'GET /session', points: curve(validations.steps) },
        { name: 'log-in without its hash', points: curve(logIns) }
      ]
    })
  )
  return [
    row('validation, by live sessions', validations.steps, 'GET /session', validations.bytes),
    row('log-in without its hash, by accounts', logIns, 'POST /auth, the threads aside that hash,'),
    ...(await measureRevocation(bench))
  ]
}

function row(what: string, steps: Step[], how: string, bytes?: number[]): Measurement {
  const costs = steps.map(({ cpuMicros }) => median(cpuMicros))
  const growth = (costs.at(-1) as number) / (costs[0] as number)
  const each = steps.map(
    ({ size, cpuMicros, perSecond }, index) =>
      `${figure(size)}: ${spread(cpuMicros)} µs, ${figure(median(perSecond))}/s${bytes ? `, ${figure((bytes[index] ?? 0) / 1e6)} MB` : ''}`
  )
  return {
    what,
    goal: `≤ ${mostGrowth} × at the least`,
    value: `${figure(growth, 2)} ×`,
    passed: growth <= mostGrowth,
    from: `time of the processor for ${how} at ${each.join('; ')}`,
    figures: steps
  }
}

/** A number of things that were done in a time, and what was taken for them. */
interface Work {
  count: number
  perSecond: number
  cpuSeconds: number
}

/**
 * Measures at each size, the least of them at the beginning and at the end: processes become faster with
 * time, and that must not hide what growth costs.
 */
async function grow(
  sizes: number[],
  { rounds, warmUps }: { rounds: number; warmUps: number },
  data: {
    what: string
    add(from: number, to: number): Promise<void>
    clear(): Promise<void>
    work(size: number): Promise<Work>
  }
): Promise<Step[]> {
  const steps: Step[] = sizes.map((size) => ({ size, cpuMicros: [], perSecond: [] }))
  const [least] = steps as [Step]
  let there = 0
  for (const step of [...steps, least]) {
    if (step.size < there) {
      await data.clear()
      there = 0
    }
    await data.add(there, step.size)
    console.log(`   ${figure(step.size)} ${data.what}`)
    const unmeasured = there === 0 && step.cpuMicros.length === 0 ? warmUps : 1
    there = step.size
    for (let round = -unmeasured; round < rounds; round += 1) {
      const { count, perSecond, cpuSeconds } = await data.work(step.size)
      if (round < 0) continue
      step.cpuMicros.push((cpuSeconds / count) * 1e6)
      step.perSecond.push(perSecond)
    }
  }
  return steps
}

async function measureValidations(bench: Bench, sizes: number[]): Promise<{ steps: Step[]; bytes: number[] }> {
  const { product, stores, quick } = bench
  const seconds = quick ? 1 : 6
  const bytes: number[] = []
  const atFirst = await usedMemory(stores)
  let tokens: string[] = []
  const taken = () => sum(cpuSeconds(product), ['gateway', 'session-svc', 'redis'])
  const steps = await grow(sizes, quick ? { rounds: 1, warmUps: 3 } : { rounds: 3, warmUps: 5 }, {
    what: 'live sessions',
    async add(from, to) {
      const added = await stores.addSessions(to - from)
      // Some thousands of all there are, the old ones too.
      const every = Math.ceil(added.length / 5000)
      tokens = [...(from === 0 ? [] : tokens), ...added.filter((_, index) => index % every === 0)]
      bytes.push((await usedMemory(stores)) - atFirst)
    },
    clear: stores.removeSessions,
    async work() {
      const before = taken()
      const load = await cleanLoad(product.route('/session'), { connections: 32, seconds, tokens })
      await untilQuiet(product)
      return { count: load.requests, perSecond: load.requestsPerSecond, cpuSeconds: taken() - before }
    }
  })
  return { steps, bytes }
}

/** At a second product on the same engines, whose hashes cost next to nothing. */
async function measureLogIns({ product, stores, quick, dataDir }: Bench, sizes: number[]): Promise<Step[]> {
  const seconds = quick ? 1 : 6
  const cheap = await startBeside(product, join(dataDir, 'cheap-hashes'), { USER_SVC_PASSWORD_COST: '4' })
  const taken = () =>
    sum(cpuSeconds(cheap), ['gateway', 'user-svc', 'session-svc']) + sum(cpuSeconds(product), ['postgres', 'redis'])
  try {
    const hash = await registeredHash(cheap, stores)
    return await grow(sizes, quick ? { rounds: 1, warmUps: 2 } : { rounds: 3, warmUps: 5 }, {
      what: 'accounts',
      add: (from, to) => stores.addAccounts('growth', from + 1, to, hash),
      clear: stores.removeAccounts,
      async work(accounts) {
        const before = taken()
        const who = { group: 'growth', accounts, password, addresses: 'many', patient: true } as const
        const answers = await storm({ url: cheap.route('/auth'), clients: 8, seconds, ...who })
        const { 200: count = 0, ...others } = countStatuses(answers)
        if (Object.keys(others).length > 0) throw new Error(`not all could log in: ${JSON.stringify(others)}`)
        await untilQuiet(cheap)
        return { count, perSecond: count / seconds, cpuSeconds: taken() - before }
      }
    })
  } finally {
    await cheap.stop()
  }
}

function sum(seconds: Record<CpuName, number>, names: CpuName[]): number {
  return names.reduce((total, name) => total + seconds[name], 0)
}
