/** `GET /session` while many clients log in without pause, and the responses to these clients. */

import { setTimeout as sleep } from 'node:timers/promises'
import { figure, type Measurement, median, spread } from './measurement.ts'
import type { Bench, Part } from './part.ts'
import { registeredHash } from './population.ts'
import { untilQuiet } from './processes.ts'
import { type RawResult, rawLoad, sumStatuses } from './raw-load.ts'
import { logInRequests, validationRequests } from './requests.ts'

const clients = 64
const goalP99Ms = 25
const deadlineMs = 5000
const immediateMs = 50
const allowed = ['200', '429', '503']
// A small part of the product's capacity, so that the row shows the storm and not the probe.
const probesPerSecond = 350
// For the hash queue to fill.
const onsetMs = 2500

interface Storm {
  session: RawResult
  logIns: RawResult
}

export const measureStorm: Part = async ({ product, stores, quick }) => {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 3, seconds: 20 }
  await stores.addAccounts('storm', 1, clients, await registeredHash(product, stores))
  const url = product.route('/session')
  const requests = validationRequests(url, await stores.addSessions(200))
  const probe = () => rawLoad({ url, connections: clients, seconds, ratePerSecond: probesPerSecond, requests })
  await probe()
  const alone = await probe()
  const storms: Storm[] = []
  for (let round = 0; round < rounds; round += 1) storms.push(await inStorm(product, seconds, probe))
  return rows(alone, storms)
}

/** Starts a storm and probes while it lasts. */
async function inStorm(product: Bench['product'], seconds: number, probe: () => Promise<RawResult>): Promise<Storm> {
  const logIns = rawLoad({
    url: product.route('/auth'),
    connections: clients,
    seconds: seconds + onsetMs / 1000 + 1,
    // One account and one address for each client.
    requests: logInRequests(product, 'storm', clients, clients),
    repeatsPerConnection: true,
    cooldownMs: 0
  })
  // Awaited later; it may fail before.
  logIns.catch(() => {})
  await sleep(onsetMs)
  const storm = { session: await probe(), logIns: await logIns }
  await untilQuiet(product)
  return storm
}

const p99Ms = ({ latenciesMs }: RawResult) => latenciesMs[99] ?? Number.NaN

function rows(alone: RawResult, storms: Storm[]): Measurement[] {
  const sessions = storms.map(({ session }) => session)
  const p99s = sessions.map(p99Ms)
  return [
    {
      name: `GET /session p99 while ${clients} clients log in without pause`,
      goal: `≤ ${goalP99Ms} ms`,
      value: `${spread(p99s, 1)} ms`,
      passed: median(p99s) <= goalP99Ms,
      details: `${probesPerSecond}/s; without the storm ${figure(p99Ms(alone), 1)} ms`,
      figures: { alone, storms }
    },
    statusRow(storms),
    ...rejectionRows(storms.map(({ logIns }) => logIns))
  ]
}

function statusRow(storms: Storm[]): Measurement {
  const logIns = sumStatuses(storms.map((each) => each.logIns))
  const session = sumStatuses(storms.map((each) => each.session))
  const others = Object.keys({ ...logIns, ...session }).filter((status) => !allowed.includes(status))
  return {
    name: 'statuses in that storm',
    goal: `only ${allowed.join(', ')}`,
    value: others.length === 0 ? 'only these' : `also ${others.map((status) => (status === '0' ? 'none' : status))}`,
    passed: others.length === 0,
    details: `logins ${JSON.stringify(logIns)}, GET /session ${JSON.stringify(session)}`
  }
}

function rejectionRows(logIns: RawResult[]): Measurement[] {
  const latencies = (status: number, percent: number) =>
    logIns.map(({ latenciesByStatusMs }) => latenciesByStatusMs[status]?.[percent] ?? 0)
  const slowest = Math.max(...latencies(429, 100), ...latencies(503, 100))
  const shedP99s = latencies(503, 99)
  const hasShed = Math.max(...latencies(503, 100)) > 0
  return [
    {
      name: 'slowest rejected login in that storm',
      goal: `≤ ${figure(deadlineMs)} ms`,
      value: `${figure(slowest)} ms`,
      passed: slowest <= deadlineMs,
      details: 'of statuses 429 and 503'
    },
    {
      name: 'p99 of rejections by load shedding (503)',
      goal: `≤ ${immediateMs} ms`,
      value: hasShed ? `${spread(shedP99s)} ms` : 'none',
      passed: hasShed ? median(shedP99s) <= immediateMs : undefined,
      details: `p50 ${spread(latencies(503, 50), 1)} ms, slowest ${spread(latencies(503, 100))} ms`
    }
  ]
}
