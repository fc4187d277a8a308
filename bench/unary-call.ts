/** What a unary call between two processes costs with all interceptors, against bare node:http2 with protobuf-es. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Part } from './bench.ts'
import { alternate, figure, type Measurement, median, ratios, spread } from './measurement.ts'
import type { CallResult, Calls } from './unary-client.ts'

const goalMicros = 130
// Bare node:http2 took 67 µs where the goal was set. The ratio holds on other machines and on a busy one.
const goalRatio = 2
const levels = [1, 8, 64]
const goalLevel = 8

// V8 has optimized the code of a call by then, however busy the machine is.
const warmUpCalls = 6000
// A busy machine completes a few hundred in a short round.
const fewestCalls = 1500

type Results = Record<'product' | 'bare', CallResult[]>

export const measureUnaryCall: Part = async ({ quick }) => {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 0.5 } : { rounds: 5, seconds: 3 }
  const clients = { product: await startClient('product'), bare: await startClient('bare') }
  const variants = (calls: Calls) => ({
    product: () => clients.product.measure(calls),
    bare: () => clients.bare.measure(calls)
  })
  try {
    await alternate(1, variants({ inFlight: goalLevel, seconds: 0, atLeast: warmUpCalls }))
    const rows: Measurement[] = []
    for (const inFlight of levels)
      rows.push(...rowsOf(inFlight, await alternate(rounds, variants({ inFlight, seconds, atLeast: fewestCalls }))))
    return rows
  } finally {
    for (const client of Object.values(clients)) client.stop()
  }
}

const bothSides = ({ clientMicros, serverMicros }: CallResult) => clientMicros + serverMicros

function rowsOf(inFlight: number, results: Results): Measurement[] {
  const each = ratios(results.product.map(bothSides), results.bare.map(bothSides))
  const micros = results.product.map(bothSides)
  const hasGoal = inFlight === goalLevel
  const what = `unary call with all interceptors, ${inFlight} in flight`
  const figures = { ...results, ratios: each }
  return [
    {
      what: `${what}: CPU of both sides`,
      goal: hasGoal ? `≤ ${goalMicros} µs` : '',
      value: `${spread(micros)} µs`,
      passed: hasGoal ? median(micros) <= goalMicros : undefined,
      from: `${say(results.product)}; bare node:http2: ${say(results.bare)}`,
      figures
    },
    {
      what: `${what}: CPU against bare node:http2`,
      goal: hasGoal ? `≤ ${goalRatio} ×` : '',
      value: `${spread(each, 1)} ×`,
      passed: hasGoal ? median(each) <= goalRatio : undefined,
      from: 'both sides, in the same run'
    }
  ]
}

function say(results: CallResult[]): string {
  const middle = (name: keyof CallResult) => figure(median(results.map((result) => result[name])))
  return `client ${middle('clientMicros')}, server ${middle('serverMicros')} µs, ${middle('callsPerSecond')}/s`
}

interface UnaryClient {
  measure(calls: Calls): Promise<CallResult>
  stop(): void
}

/** Starts a client, which starts its server; both end when the client is stopped. */
async function startClient(variant: keyof Results): Promise<UnaryClient> {
  const child = fork(join(import.meta.dirname, 'unary-client.ts'), [variant])
  const ended = once(child, 'exit').then(() => [new Error(`unary-client.ts ${variant} ended`)])
  async function answer(): Promise<unknown> {
    const [message] = await Promise.race([once(child, 'message'), ended])
    if (message instanceof Error) throw message
    return message
  }
  await answer()
  return {
    measure(calls) {
      child.send(calls)
      return answer() as Promise<CallResult>
    },
    stop: () => child.kill()
  }
}
