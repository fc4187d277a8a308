/** `GET /session` while many clients log in without pause, and what those clients are told. */

import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Part } from './bench.ts'
import { lineChart } from './chart.ts'
import { type LoadResult, load } from './load.ts'
import { figure, type Measurement, median, percentile, spread } from './measurement.ts'
import { password, registeredHash } from './population.ts'
import { untilQuiet } from './processes.ts'
import { countStatuses, storm } from './storm.ts'
import type { StormAnswer } from './storm-client.ts'

const clients = 64
const goalP99Ms = 25
const deadlineMs = 5000
const atOnceMs = 50
const allowed = ['200', '429', '503']
// Some 350 requests a second, which is what a few applications ask for, and a small part of what the product can do:
// so it is the storm that is seen and not the probe itself. Each connection waits 40 ms on average after an answer.
const probe = { connections: 16, pauseMs: 40 }
// What the queue of hashes needs to fill.
const onsetMs = 2500

interface Storm {
  session: LoadResult
  answers: StormAnswer[]
}

export const measureStorm: Part = async (bench) => {
  const { product, stores, quick, draw } = bench
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 2 } : { rounds: 3, seconds: 20 }
  await stores.addAccounts('storm', 1, clients, await registeredHash(product, stores))
  const tokens = await stores.addSessions(200)
  const session = (what: { connections: number; pauseMs?: number }) =>
    load(product.route('/session'), { ...what, seconds, tokens })

  await session(probe)
  const alone = await session(probe)
  const full = await session({ connections: 64 })
  await untilQuiet(bench.product)
  const patient = await inStorm(bench, seconds, true, () => session(probe))
  const storms: Storm[] = []
  for (let round = 0; round < rounds; round += 1) {
    storms.push(await inStorm(bench, seconds, false, () => session(probe)))
  }
  const middle = storms.toSorted((a, b) => a.session.p99Ms - b.session.p99Ms)[Math.floor(rounds / 2)] as Storm
  const curve = ({ latenciesMs }: LoadResult): [number, number][] =>
    Object.entries(latenciesMs)
      .map(([percent, ms]): [number, number] => [Number(percent), Math.max(ms, 0.05)])
      .filter(([percent]) => percent < 99.95)
      .sort(([a], [b]) => a - b)
  draw(
    'session-latency',
    lineChart({
      title: 'How long GET /session takes',
      subtitle: `at some ${figure(alone.requestsPerSecond)} requests a second, and from 64 connections without pause`,
      x: { label: 'percentile of the requests', scale: 'percentile' },
      y: { label: 'milliseconds', scale: 'log' },
      series: [
        { name: 'nobody logs in', points: curve(alone) },
        { name: `64 connections, ${figure(full.requestsPerSecond)}/s`, points: curve(full) },
        { name: `${clients} log in, patiently`, points: curve(patient.session) },
        { name: `${clients} log in without pause`, points: curve(middle.session) }
      ],
      marks: [{ axis: 'y', at: goalP99Ms, text: `99th percentile: ≤ ${goalP99Ms} ms` }]
    })
  )
  return rows(alone, patient, storms)
}

/** Starts a storm, and measures something while it lasts. */
async function inStorm(
  { product }: Bench,
  seconds: number,
  patient: boolean,
  measure: () => Promise<LoadResult>
): Promise<Storm> {
  const running = storm({
    url: product.route('/auth'),
    clients,
    seconds: seconds + onsetMs / 1000 + 1,
    group: 'storm',
    password,
    addresses: 'own',
    patient
  })
  // It is awaited later, and may fail before.
  running.catch(() => {})
  await sleep(onsetMs)
  const session = await measure()
  const answers = await running
  await untilQuiet(product)
  return { session, answers }
}

function rows(alone: LoadResult, patient: Storm, storms: Storm[]): Measurement[] {
  const p99s = storms.map(({ session }) => session.p99Ms)
  const answers = storms.flatMap((each) => each.answers)
  const sessionStatuses = sum(storms.map(({ session }) => session.statuses))
  const loginStatuses = countStatuses(answers)
  const odd = Object.keys({ ...sessionStatuses, ...loginStatuses }).filter((status) => !allowed.includes(status))
  const unanswered = storms.reduce((total, { session }) => total + session.unanswered, 0)
  const refused = answers.filter(([, status]) => status !== 200).map(([, , ms]) => ms)
  const shed = answers.filter(([, status]) => status === 503).map(([, , ms]) => ms)
  const slowest = refused.reduce((most, ms) => Math.max(most, ms), 0)
  const shedP99 = percentile(shed, 99)
  const say = (statuses: Record<string, number>) =>
    Object.entries(statuses)
      .map(([status, count]) => `${figure(count)} × ${status === '0' ? 'none' : status}`)
      .join(', ') || 'none'
  return [
    {
      what: `GET /session p99 while ${clients} clients log in without pause`,
      goal: `≤ ${goalP99Ms} ms`,
      value: `${spread(p99s, 1)} ms`,
      passed: median(p99s) <= goalP99Ms,
      from: `at ${figure(median(storms.map(({ session }) => session.requestsPerSecond)))} a second; alone ${figure(alone.p99Ms, 1)} ms; while they come back when Retry-After says ${figure(patient.session.p99Ms, 1)} ms`,
      figures: { p99s, alone, patient: patient.session, storms: storms.map(({ session }) => session) }
    },
    {
      what: 'answers to the clients in that storm',
      goal: `only ${allowed.join(', ')}`,
      value: odd.length === 0 && unanswered === 0 ? 'only these' : `also ${odd.join(', ') || 'none at all'}`,
      passed: odd.length === 0 && unanswered === 0,
      from: `log-ins: ${say(loginStatuses)}; GET /session: ${say(sessionStatuses)}`,
      figures: { loginStatuses, sessionStatuses, patient: countStatuses(patient.answers) }
    },
    {
      what: 'the slowest refused log-in in that storm',
      goal: `≤ ${figure(deadlineMs)} ms`,
      value: `${figure(slowest)} ms`,
      passed: slowest <= deadlineMs,
      from: `${figure(refused.length)} refused`,
      figures: { slowest, refused: refused.length }
    },
    {
      what: 'a refusal by overload (503), p99',
      goal: `≤ ${atOnceMs} ms`,
      value: shed.length > 0 ? `${figure(shedP99)} ms` : 'none',
      passed: shed.length > 0 ? shedP99 <= atOnceMs : undefined,
      from:
        shed.length > 0
          ? `${figure(shed.length)} refused, median ${figure(median(shed), 1)} ms, ${figure(shed.filter((ms) => ms > atOnceMs).length)} later than that`
          : 'nothing was refused by overload',
      figures: { shed: shed.length, p99: shedP99 }
    }
  ]
}

function sum(all: Record<string, number>[]): Record<string, number> {
  const totals: Record<string, number> = {}
  for (const counts of all) {
    for (const [status, count] of Object.entries(counts)) totals[status] = (totals[status] ?? 0) + count
  }
  return totals
}
