/** Memory of the services and of `make run` itself: idle after the start, and before and after very many requests. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Part } from './bench.ts'
import { lineChart } from './chart.ts'
import { cleanLoad } from './load.ts'
import { hashingClients } from './logins.ts'
import { figure } from './measurement.ts'
import { registeredHash } from './population.ts'
import { processOf, proportionalMb, serviceNames, untilQuiet } from './processes.ts'
import { rawLoad } from './raw-load.ts'
import { logInRequests, logOutRequests, registrationRequests } from './requests.ts'

const goalsMb = { idle: 240, afterLoad: 300, makeRun: 60 }
// Memory varies by that much from one sample to the next.
const tolerance = 0.1
// For the log to be shipped, and for the memory reducer of V8.
const idleMs = 12_000
const accounts = 1000

/** Must come first: it samples the idle product before the first request. */
export const measureServiceMemory: Part = async (bench) => {
  const { product, stores, quick, draw } = bench
  const { warmUp, requests, longestSeconds } = quick
    ? { warmUp: 10_000, requests: 20_000, longestSeconds: 12 }
    : { warmUp: 500_000, requests: 1_500_000, longestSeconds: 300 }
  const pids = serviceNames.map((name) => processOf(product, name))
  const sample = () => pids.map(proportionalMb)
  const sum = (mb: number[]) => mb.reduce((total, each) => total + each, 0)
  await untilQuiet(product)
  await sleep(quick ? 1000 : idleMs)
  const idle = sample()
  const makeRunIdle = proportionalMb(product.pid)

  await stores.addAccounts('memory', 1, accounts, await registeredHash(product, stores))
  const tokens = await stores.addSessions(200)
  const samples: [requests: number, mb: number[]][] = [[0, idle]]
  const endsAt = performance.now() + longestSeconds * 1000
  let sent = 0
  /** @returns what they hold right after the load, and when they are idle again */
  async function sendUntil(total: number): Promise<{ loaded: number[]; idle: number[] }> {
    await useOtherRoutes(bench, quick ? 1 : 10)
    do {
      const what = { connections: 64, seconds: quick ? 3 : 10, tokens }
      sent += (await cleanLoad(product.route('/session'), what)).requests
      samples.push([sent, sample()])
    } while (sent < total && performance.now() < endsAt)
    await untilQuiet(product)
    const loaded = sample()
    await sleep(quick ? 1000 : idleMs)
    return { loaded, idle: sample() }
  }
  const warm = await sendUntil(warmUp)
  const warmAt = sent
  const end = await sendUntil(requests)
  const makeRun = Math.max(makeRunIdle, proportionalMb(product.pid))

  const growth = end.idle.map((mb, index) => mb / (warm.idle[index] ?? Number.NaN) - 1)
  const percent = (share: number) => `${share > 0 ? '+' : ''}${figure(share * 100, 1)} %`
  const eachOf = (say: (index: number) => string) =>
    serviceNames.map((name, index) => `${name} ${say(index)}`).join(', ')
  const sumRow = (what: string, mb: number[], goalMb: number) => ({
    what,
    goal: `≤ ${goalMb} MB`,
    value: `${figure(sum(mb))} MB`,
    // A quick run neither waits until they are idle nor sends as much.
    passed: quick ? undefined : sum(mb) <= goalMb,
    from: eachOf((index) => figure(mb[index] ?? 0)),
    figures: Object.fromEntries(serviceNames.map((name, index) => [name, mb[index]]))
  })
  draw(
    'service-memory',
    lineChart({
      title: 'Memory of the services (PSS)',
      subtitle: 'under GET /session from 64 connections',
      x: { label: 'validations answered', scale: 'linear' },
      y: { label: 'MB', scale: 'linear', from: 0 },
      series: serviceNames.map((name, index) => ({
        name,
        points: samples.map(([at, mb]): [number, number] => [at, mb[index] ?? 0])
      }))
    })
  )
  return [
    sumRow('PSS of the four services, idle', idle, goalsMb.idle),
    sumRow(`PSS of the four services after ${figure(sent)} validations and other load`, end.loaded, goalsMb.afterLoad),
    {
      what: 'PSS of make run itself',
      goal: `≤ ${goalsMb.makeRun} MB`,
      value: `${figure(makeRun)} MB`,
      passed: quick ? undefined : makeRun <= goalsMb.makeRun,
      from: `the more of idle (${figure(makeRunIdle)} MB) and after the load`
    },
    {
      what: `PSS of a service, idle again after ${figure(sent)} validations`,
      goal: `no growth (≤ ${percent(tolerance)}) from ${figure(warmUp)} to ${figure(requests)}`,
      value: percent(Math.max(...growth)),
      // If the time was over before, or in a quick run, the growth over so many requests is unknown.
      passed: sent >= requests && !quick ? Math.max(...growth) <= tolerance : undefined,
      from: `MB after ${figure(warmAt)} and after ${figure(sent)}: ${eachOf((index) => `${figure(warm.idle[index] ?? 0)} → ${figure(end.idle[index] ?? 0)}`)}`,
      figures: { services: serviceNames, warm, end, warmAt, sent, samples }
    }
  ]
}

/** The load of the rows beside validations: logins, registrations and logouts, one after the other. */
async function useOtherRoutes({ product, stores }: Bench, seconds: number): Promise<void> {
  const loads = [
    { route: '/auth', connections: hashingClients, requests: logInRequests(product, 'memory', accounts, 1000) },
    { route: '/reg', connections: hashingClients, requests: registrationRequests(product, 100 * seconds) },
    { route: '/logout', connections: 8, requests: logOutRequests(product, await stores.addSessions(2000 * seconds)) }
  ]
  for (const { route, ...load } of loads) {
    await rawLoad({ ...load, url: product.route(route), seconds, sendsEachOnce: route !== '/auth' })
  }
}
