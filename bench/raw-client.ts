/**
 * Sends requests at a rate (open loop), or on each connection after each response (closed loop). Argument: a file with a
 * RawLoad as JSON. Prints a RawResult as JSON.
 */

import { readFileSync } from 'node:fs'
import { setTimeout as sleep, setImmediate as turnOfLoop } from 'node:timers/promises'
import { completionRate, percentile } from './measurement.ts'
import { openRawConnection, type RawConnection } from './raw-http.ts'
import type { Latencies, RawLoad, RawResult } from './raw-load.ts'

// Timers of Node.js are late by up to a millisecond. A shorter wait blocks the thread, so responses wait as long at most.
const longestBlockMs = 0.2
// New connections and new code are slow: earlier requests of an open loop do not count in the latencies.
const onsetMs = 1000
// For the responses of the last requests.
const graceMs = 10_000

const options = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as RawLoad
const { url, ratePerSecond, seconds, sendsEachOnce, repeatsPerConnection, cooldownMs = 100 } = options
const isOpenLoop = ratePerSecond !== undefined
const requests = options.requests.map((request) => Buffer.from(request, 'latin1'))

// Requests have numbers, and times are in ms since the start. Connections open when a request needs one, because a server
// closes connections without requests.
const dueAt: number[] = []
const sentAt: number[] = []
const endedAt: number[] = []
const statusOf: number[] = []
const succeededAt: number[] = []
const idle: RawConnection[] = []
let inFlight = 0
let opened = 0

const [cpuBefore, startedAt] = [process.cpuUsage(), performance.now()]
const now = () => performance.now() - startedAt
const isOver = () => now() >= seconds * 1000 || (sendsEachOnce === true && dueAt.length >= requests.length)

await (isOpenLoop ? runOpenLoop(ratePerSecond) : runClosedLoop())
const [{ user, system }, elapsedMs] = [process.cpuUsage(cpuBefore), now()]
while ((inFlight > 0 || sentAt.length < dueAt.length) && now() < elapsedMs + graceMs) await sleep(10)
for (const number of dueAt.keys()) if (endedAt[number] === undefined) end(number, 0)
report()
process.exit()

/** Independent callers: the gaps are exponential, and no response delays a request. */
async function runOpenLoop(rate: number): Promise<void> {
  const clock = new Int32Array(new SharedArrayBuffer(4))
  const gapMs = () => (-Math.log(1 - Math.random()) * 1000) / rate
  for (let nextAt = gapMs(); !isOver(); ) {
    for (; nextAt <= now(); nextAt += gapMs()) dueAt.push(nextAt)
    sendDue()
    const waitMs = nextAt - now()
    if (waitMs > 2) await sleep(Math.floor(waitMs - 1))
    else {
      if (waitMs > 0) Atomics.wait(clock, 0, 0, Math.min(waitMs, longestBlockMs))
      await turnOfLoop()
    }
  }
}

async function runClosedLoop(): Promise<void> {
  for (let number = 0; number < options.connections; number += 1) if (!isOver()) dueAt.push(0)
  sendDue()
  while (!isOver()) await sleep(10)
}

function open(): RawConnection {
  const index = opened
  opened += 1
  let number = 0
  const { send } = openRawConnection(url, (status) => {
    inFlight -= 1
    end(number, status)
    if (isOpenLoop) release(connection)
    else if (isSuccess(status) || cooldownMs === 0) sendNext(connection)
    else setTimeout(sendNext, cooldownMs, connection)
  })
  const connection: RawConnection = {
    send(request) {
      number = sentAt.push(now()) - 1
      inFlight += 1
      send(repeatsPerConnection ? (requests[index % requests.length] as Buffer) : request)
    }
  }
  return connection
}

function sendNext(connection: RawConnection): void {
  if (!isOver()) dueAt.push(now())
  release(connection)
}

function release(connection: RawConnection): void {
  idle.push(connection)
  sendDue()
}

function sendDue(): void {
  while (sentAt.length < dueAt.length) {
    const connection = idle.pop() ?? (opened < options.connections ? open() : undefined)
    if (connection === undefined) return
    connection.send(requests[sentAt.length % requests.length] as Buffer)
  }
}

function end(number: number, status: number): void {
  endedAt[number] = now()
  statusOf[number] = status
  if (isSuccess(status)) succeededAt.push(now())
}

function isSuccess(status: number): boolean {
  return status >= 200 && status < 300
}

function report(): void {
  const counted = [...dueAt.keys()].filter((number) => !isOpenLoop || (dueAt[number] as number) >= onsetMs)
  const latency = (number: number) => (endedAt[number] as number) - (dueAt[number] as number)
  const byStatus = Map.groupBy(counted, (number) => statusOf[number] as number)
  const statuses: Record<string, number> = {}
  for (const status of statusOf) statuses[status] = (statuses[status] ?? 0) + 1
  const result: RawResult = {
    requests: dueAt.length,
    perSecond: completionRate(succeededAt, isOpenLoop ? 0 : options.connections),
    statuses,
    latenciesMs: percentiles(counted.map(latency)),
    latenciesByStatusMs: Object.fromEntries(
      [...byStatus].map(([status, numbers]) => [status, percentiles(numbers.map(latency))])
    ),
    latenessP99Ms: percentile(
      counted.map((number) => (sentAt[number] ?? now()) - (dueAt[number] as number)),
      99
    ),
    cpuCores: (user + system) / 1000 / elapsedMs
  }
  console.log(JSON.stringify(result))
}

function percentiles(latenciesMs: readonly number[]): Latencies {
  return Object.fromEntries([50, 99, 99.9, 100].map((percent) => [percent, percentile(latenciesMs, percent)]))
}
