/** Cost of a unary call between two processes with all interceptors, against bare node:http2 with protobuf-es. */

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { alternate, figure, type Measurement, median, ratios, spread } from './measurement.ts'
import type { Part } from './part.ts'
import type { CallResult, Calls } from './unary-call-client.ts'

const goalMicros = 130
// Bare node:http2 took 67 µs on the machine of the goal. The ratio applies to other machines too.
const goalRatio = 2
const levels = [1, 8, 64]
const goalLevel = 8

// Enough for V8 to optimize the code of a call.
const warmUpCalls = 6000
// In a short round, a busy machine completes only a few hundred.
const minCalls = 1500

type Results = Record<'product' | 'bare', CallResult[]>

export const measureUnaryCall: Part = async ({ quick }) => {
  const { rounds, seconds } = quick ? { rounds: 1, seconds: 0.5 } : { rounds: 5, seconds: 3 }
  const clients = { product: await startClient('product'), bare: await startClient('bare') }
  const variants = (calls: Calls) => ({
    product: () => clients.product.measure(calls),
    bare: () => clients.bare.measure(calls)
  })
  try {
    await alternate(1, variants({ inFlight: goalLevel, seconds: 0, minCalls: warmUpCalls }))
    const rows: Measurement[] = []
    for (const inFlight of levels)
      rows.push(...rowsOf(inFlight, await alternate(rounds, variants({ inFlight, seconds, minCalls }))))
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
  const name = `unary call with all interceptors, ${inFlight} in flight`
  const figures = { ...results, ratios: each }
  return [
    {
      name: `${name}: CPU of both sides`,
      goal: hasGoal ? `≤ ${goalMicros} µs` : '',
      value: `${spread(micros)} µs`,
      passed: hasGoal ? median(micros) <= goalMicros : undefined,
      details: `${format(results.product)}; bare node:http2: ${format(results.bare)}`,
      figures
    },
    {
      name: `${name}: CPU against bare node:http2`,
      goal: hasGoal ? `≤ ${goalRatio} ×` : '',
      value: `${spread(each, 1)} ×`,
      passed: hasGoal ? median(each) <= goalRatio : undefined,
      details: 'both sides, in the same run'
    }
  ]
}

function format(results: CallResult[]): string {
  const medianOf = (name: keyof CallResult) => figure(median(results.map((result) => result[name])))
  return `client ${medianOf('clientMicros')}, server ${medianOf('serverMicros')} µs, ${medianOf('callsPerSecond')}/s`
}

interface UnaryClient {
  measure(calls: Calls): Promise<CallResult>
  stop(): void
}

/** Starts a client and its server. Both end with `stop`. */
async function startClient(variant: keyof Results): Promise<UnaryClient> {
  const child = fork(join(import.meta.dirname, 'unary-call-client.ts'), [variant])
  const ended = once(child, 'exit').then(() => [new Error(`unary-call-client.ts ${variant} ended`)])
  async function message(): Promise<unknown> {
    const [received] = await Promise.race([once(child, 'message'), ended])
    if (received instanceof Error) throw received
    return received
  }
  await message()
  return {
    measure(calls) {
      child.send(calls)
      return message() as Promise<CallResult>
    },
    stop: () => child.kill()
  }
}
