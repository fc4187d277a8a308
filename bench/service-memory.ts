/** Memory of the services and of `make run` itself: idle after the start, after load, and its growth over many requests. */

import { setTimeout as sleep } from 'node:timers/promises'
import { hashingClients } from './logins.ts'
import { figure, type Measurement } from './measurement.ts'
import type { Bench, Part } from './part.ts'
import { registeredHash } from './population.ts'
import { processOf, proportionalMb, serviceNames, untilQuiet } from './processes.ts'
import { rawLoad } from './raw-load.ts'
import { logInRequests, logOutRequests, registrationRequests } from './requests.ts'
import { fullLoad } from './wrk.ts'

const goalsMb = { idle: 240, afterLoad: 300, makeRun: 60 }
// Samples of the same process differ by as much.
const tolerance = 0.1
// For V8's memory reducer.
const idleMs = 12_000
const accounts = 1000

/** MB by service. */
type Sample = number[]

/** Samples right after a load, and when the services are idle again; `sent` counts all validations so far. */
interface Loaded {
  sent: number
  loaded: Sample
  idle: Sample
}

/** Must run first: it samples the idle product before the first request. */
export const measureServiceMemory: Part = async (bench) => {
  const { product, stores, quick } = bench
  const { warmUp, requests, longestSeconds } = quick
    ? { warmUp: 10_000, requests: 20_000, longestSeconds: 12 }
    : { warmUp: 500_000, requests: 1_500_000, longestSeconds: 300 }
  const pids = serviceNames.map((name) => processOf(product, name))
  const sample = (): Sample => pids.map(proportionalMb)
  const untilIdle = async () => {
    await untilQuiet(product)
    await sleep(quick ? 1000 : idleMs)
  }
  await untilIdle()
  const idle = sample()
  const makeRunIdle = proportionalMb(product.pid)

  await stores.addAccounts('memory', 1, accounts, await registeredHash(product, stores))
  const tokens = await stores.addSessions(200)
  const endsAt = performance.now() + longestSeconds * 1000
  let sent = 0
  async function sendUntil(total: number): Promise<Loaded> {
    await loadOtherRoutes(bench, quick ? 1 : 10)
    do {
      const load = { connections: 64, seconds: quick ? 3 : 10, tokens }
      sent += (await fullLoad(product.route('/session'), load)).requests
    } while (sent < total && performance.now() < endsAt)
    await untilQuiet(product)
    const loaded = sample()
    await untilIdle()
    return { sent, loaded, idle: sample() }
  }
  const warm = await sendUntil(warmUp)
  const end = await sendUntil(requests)
  const makeRun = Math.max(makeRunIdle, proportionalMb(product.pid))
  const rows = [
    sumRow('PSS of the four services, idle', idle, goalsMb.idle),
    sumRow(`PSS of the four services after ${figure(sent)} validations and other load`, end.loaded, goalsMb.afterLoad),
    {
      name: 'PSS of make run itself',
      goal: `≤ ${goalsMb.makeRun} MB`,
      value: `${figure(makeRun)} MB`,
      passed: makeRun <= goalsMb.makeRun,
      details: `the higher of idle (${figure(makeRunIdle)} MB) and after load`
    },
    growthRow(warm, end, requests)
  ]
  // A quick run sends too few requests and waits too briefly to judge.
  return quick ? rows.map((row) => ({ ...row, passed: undefined })) : rows
}

function eachService(format: (index: number) => string): string {
  return serviceNames.map((name, index) => `${name} ${format(index)}`).join(', ')
}

function sumRow(name: string, mb: Sample, goalMb: number): Measurement {
  const sum = mb.reduce((total, each) => total + each, 0)
  return {
    name,
    goal: `≤ ${goalMb} MB`,
    value: `${figure(sum)} MB`,
    passed: sum <= goalMb,
    details: eachService((index) => figure(mb[index] ?? 0)),
    figures: Object.fromEntries(serviceNames.map((name, index) => [name, mb[index]]))
  }
}

function growthRow(warm: Loaded, end: Loaded, requests: number): Measurement {
  const growth = Math.max(...end.idle.map((mb, index) => mb / (warm.idle[index] ?? Number.NaN) - 1))
  const percent = (share: number) => `${share > 0 ? '+' : ''}${figure(share * 100, 1)} %`
  return {
    name: `PSS of a service, idle again after ${figure(end.sent)} validations`,
    goal: `no growth (≤ ${percent(tolerance)}) from ${figure(warm.sent)} validations on`,
    value: percent(growth),
    // If the time ran out, the growth over so many requests is unknown.
    passed: end.sent >= requests ? growth <= tolerance : undefined,
    details: `MB: ${eachService((index) => `${figure(warm.idle[index] ?? 0)} → ${figure(end.idle[index] ?? 0)}`)}`,
    figures: { services: serviceNames, warm, end }
  }
}

/** Logins, registrations and logouts, one after the other. */
async function loadOtherRoutes({ product, stores }: Bench, seconds: number): Promise<void> {
  const loads = [
    { route: '/auth', connections: hashingClients, requests: logInRequests(product, 'memory', accounts, 1000) },
    { route: '/reg', connections: hashingClients, requests: registrationRequests(product, 100 * seconds) },
    { route: '/logout', connections: 8, requests: logOutRequests(product, await stores.addSessions(2000 * seconds)) }
  ]
  for (const { route, ...load } of loads) {
    await rawLoad({ ...load, url: product.route(route), seconds, sendsEachOnce: route !== '/auth' })
  }
}
