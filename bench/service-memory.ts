/** Resident memory of each service: idle after its start, and before and after very many requests. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Part } from './bench.ts'
import { lineChart } from './chart.ts'
import { cleanLoad } from './load.ts'
import { figure } from './measurement.ts'
import { processOf, residentMb, serviceNames, untilQuiet } from './processes.ts'

const idleGoalMb = 120
// What is resident breathes by that much from one look to the next.
const tolerance = 0.1
// A service gives back its garbage when it has rested: for five seconds after its start, for half a minute after a load.
const [restAfterStartMs, restAfterLoadMs] = [12_000, 37_000]

/** Must come first: it wants to see the product idle, before anything has asked it for anything. */
export const measureServiceMemory: Part = async ({ product, stores, quick, draw }) => {
  const { warmUp, requests, longestSeconds } = quick
    ? { warmUp: 10_000, requests: 20_000, longestSeconds: 12 }
    : { warmUp: 500_000, requests: 1_500_000, longestSeconds: 300 }
  const pids = serviceNames.map((name) => processOf(product, name))
  const look = () => pids.map(residentMb)
  await untilQuiet(product)
  await sleep(quick ? 1000 : restAfterStartMs)
  const idle = look()

  const tokens = await stores.addSessions(200)
  const samples: [requests: number, mb: number[]][] = [[0, idle]]
  const endsAt = performance.now() + longestSeconds * 1000
  let sent = 0
  /** @returns what they hold after a rest */
  async function sendUntil(total: number): Promise<number[]> {
    do {
      const what = { connections: 64, seconds: quick ? 3 : 10, tokens }
      sent += (await cleanLoad(product.route('/session'), what)).requests
      samples.push([sent, look()])
    } while (sent < total && performance.now() < endsAt)
    await untilQuiet(product)
    await sleep(quick ? 1000 : restAfterLoadMs)
    return look()
  }
  const warm = await sendUntil(warmUp)
  const warmAt = sent
  const end = await sendUntil(requests)

  const growth = end.map((mb, index) => mb / (warm[index] ?? Number.NaN) - 1)
  const percent = (share: number) => `${share > 0 ? '+' : ''}${figure(share * 100, 1)} %`
  const eachOf = (say: (index: number) => string) =>
    serviceNames.map((name, index) => `${name} ${say(index)}`).join(', ')
  draw(
    'service-memory',
    lineChart({
      title: 'Resident memory of the services',
      subtitle: 'under GET /session from 64 connections',
      x: { label: 'requests answered', scale: 'linear' },
      y: { label: 'MB', scale: 'linear', from: 0 },
      series: serviceNames.map((name, index) => ({
        name,
        points: samples.map(([at, mb]): [number, number] => [at, mb[index] ?? 0])
      })),
      marks: [{ axis: 'y', at: idleGoalMb, text: `idle: ≤ ${idleGoalMb} MB` }]
    })
  )
  return [
    {
      what: 'resident memory of each service, idle',
      goal: `≤ ${idleGoalMb} MB`,
      value: `${figure(Math.max(...idle))} MB`,
      passed: quick ? undefined : Math.max(...idle) <= idleGoalMb,
      from: eachOf((index) => figure(idle[index] ?? 0)),
      figures: Object.fromEntries(serviceNames.map((name, index) => [name, idle[index]]))
    },
    {
      what: `resident memory at rest after ${figure(sent)} requests`,
      goal: `no growth (≤ ${percent(tolerance)}) from ${figure(warmUp)} to ${figure(requests)}`,
      value: percent(Math.max(...growth)),
      // Where time ran out before, nothing is known of so many, and a quick run does not wait until they rest.
      passed: sent >= requests && !quick ? Math.max(...growth) <= tolerance : undefined,
      from: `MB after ${figure(warmAt)} and after ${figure(sent)}: ${eachOf((index) => `${figure(warm[index] ?? 0)} → ${figure(end[index] ?? 0)}`)}`,
      figures: { services: serviceNames, warm, end, warmAt, sent, samples }
    }
  ]
}
