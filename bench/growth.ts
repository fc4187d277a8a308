/** Growth of the cost of a request with the number of sessions and accounts. Only memory may grow more than logarithmically. */

import { join } from 'node:path'
import { figure, type Measurement, median, spread } from './measurement.ts'
import type { Bench, Part } from './part.ts'
import { registeredHash } from './population.ts'
import { type CpuName, cpuSeconds, untilQuiet } from './processes.ts'
import { startBeside } from './product.ts'
import { rawLoad } from './raw-load.ts'
import { logInRequests } from './requests.ts'
import { measureRevocation } from './revocation.ts'
import { usedMemory } from './session-memory.ts'
import { fullLoad } from './wrk.ts'

// The sizes grow by a factor of 100: the logarithm itself grows by half.
const maxGrowth = 2

/** The cost at a size, by round. */
interface Step {
  size: number
  /** CPU of a request in all programs that take part in it. */
  cpuMicros: number[]
  perSecond: number[]
}

interface Work {
  count: number
  perSecond: number
  cpuSeconds: number
}

/** Data that grow, and the work that is measured on them. */
interface Data {
  name: string
  /** Rounds without a measurement after a start without data. */
  warmUps: number
  add(from: number, to: number): Promise<void>
  clear(): Promise<void>
  work(size: number): Promise<Work>
}

export const measureGrowth: Part = async (bench) => {
  const sizes = bench.quick ? [1000, 10_000, 50_000] : [10_000, 100_000, 1_000_000]
  const { steps, bytes } = await measureValidations(bench, sizes)
  return [
    row('validation, by live sessions', steps, bytes),
    row('login without its hash, by accounts', await measureLogIns(bench, sizes)),
    ...(await measureRevocation(bench))
  ]
}

function row(name: string, steps: Step[], bytes?: number[]): Measurement {
  const costs = steps.map(({ cpuMicros }) => median(cpuMicros))
  const growth = (costs.at(-1) as number) / (costs[0] as number)
  const each = steps.map(
    ({ size, cpuMicros, perSecond }, index) =>
      `${figure(size)}: ${spread(cpuMicros)} µs, ${figure(median(perSecond))}/s${bytes ? `, ${figure((bytes[index] ?? 0) / 1e6)} MB` : ''}`
  )
  return {
    name,
    goal: `≤ ${maxGrowth} × the smallest`,
    value: `${figure(growth, 2)} ×`,
    passed: growth <= maxGrowth,
    details: `CPU at ${each.join('; ')}`,
    figures: steps
  }
}

/** Measures the smallest size first and last: a process becomes faster with time, which would hide growth. */
async function grow(sizes: number[], rounds: number, data: Data): Promise<Step[]> {
  const steps: Step[] = sizes.map((size) => ({ size, cpuMicros: [], perSecond: [] }))
  const [smallest] = steps as [Step]
  let present = 0
  for (const step of [...steps, smallest]) {
    if (step.size < present) {
      await data.clear()
      present = 0
    }
    await data.add(present, step.size)
    console.log(`   ${figure(step.size)} ${data.name}`)
    const warmUps = present === 0 && step.cpuMicros.length === 0 ? data.warmUps : 1
    present = step.size
    for (let round = -warmUps; round < rounds; round += 1) {
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
  const bytesBefore = await usedMemory(stores)
  let tokens: string[] = []
  const taken = () => sum(cpuSeconds(product), ['gateway', 'session-svc', 'redis'])
  const steps = await grow(sizes, quick ? 1 : 3, {
    name: 'live sessions',
    warmUps: quick ? 3 : 5,
    async add(from, to) {
      const added = await stores.addSessions(to - from)
      // A sample of some thousand, including old sessions.
      const every = Math.ceil(added.length / 5000)
      tokens = [...(from === 0 ? [] : tokens), ...added.filter((_, index) => index % every === 0)]
      bytes.push((await usedMemory(stores)) - bytesBefore)
    },
    clear: stores.removeSessions,
    async work() {
      const before = taken()
      const { requests, perSecond } = await fullLoad(product.route('/session'), { connections: 32, seconds, tokens })
      await untilQuiet(product)
      return { count: requests, perSecond, cpuSeconds: taken() - before }
    }
  })
  return { steps, bytes }
}

/** At a second product on the same engines, with bcrypt cost 4. */
async function measureLogIns({ product, stores, quick, dataDir }: Bench, sizes: number[]): Promise<Step[]> {
  const seconds = quick ? 1 : 6
  const cheap = await startBeside(product, join(dataDir, 'cheap-hashes'), { USER_SVC_PASSWORD_COST: '4' })
  const taken = () =>
    sum(cpuSeconds(cheap), ['gateway', 'user-svc', 'session-svc']) + sum(cpuSeconds(product), ['postgres', 'redis'])
  try {
    const hash = await registeredHash(cheap, stores)
    return await grow(sizes, quick ? 1 : 3, {
      name: 'accounts',
      warmUps: quick ? 2 : 5,
      add: (from, to) => stores.addAccounts('growth', from + 1, to, hash),
      clear: stores.removeAccounts,
      async work(accounts) {
        const before = taken()
        const requests = logInRequests(cheap, 'growth', accounts, Math.min(accounts, 20_000))
        const { statuses, perSecond } = await rawLoad({ url: cheap.route('/auth'), connections: 8, seconds, requests })
        const { 200: count = 0, ...others } = statuses
        if (Object.keys(others).length > 0) throw new Error(`not every login succeeded: ${JSON.stringify(others)}`)
        await untilQuiet(cheap)
        return { count, perSecond, cpuSeconds: taken() - before }
      }
    })
  } finally {
    await cheap.stop()
  }
}

function sum(seconds: Record<CpuName, number>, names: CpuName[]): number {
  return names.reduce((total, name) => total + seconds[name], 0)
}
