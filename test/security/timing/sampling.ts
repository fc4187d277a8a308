/** Samples of response times: kinds of requests in random order over one connection, and whether a kind is separable from another. */

import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { median, separability } from '../../../bench/measurement.ts'

/** The goals of OWASP ASVS 6.3.8 here: an attacker with this many samples cannot separate two kinds. */
export const maxMedianDifference = 0.02
export const separabilityBounds = [0.45, 0.55] as const

export interface Request {
  method: string
  path: string
  body?: object
  headers?: Record<string, string>
}

/** Kinds of requests that must not be separable; each is compared with the first, or with the one that `against` names. */
export interface Group {
  name: string
  status: number
  /** `number` is not repeated within a kind. */
  kinds: Record<string, (number: number) => Request>
  against?: Record<string, string>
}

export interface Comparison {
  group: string
  kind: string
  against: string
  samples: number
  /** Milliseconds. */
  medians: [number, number]
  difference: number
  area: number
}

// The first requests of a route run code that is not optimized yet.
const warmUpSamples = 100
const [maxAttempts, shedPauseMs] = [20, 200]

interface Sampling {
  /** Samples of each kind. */
  count: number
  /** Further samples, which do not count. */
  warmUp?: number
  /** Of the gateway. */
  port: number
  signal?: AbortSignal
}

/** Measures the kinds of a group. */
export async function sampleGroup(
  group: Group,
  { count, warmUp = warmUpSamples, port, signal }: Sampling
): Promise<Comparison[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const times = new Map(Object.keys(group.kinds).map((kind) => [kind, [] as number[]]))
  try {
    for (let round = 0; round < count + warmUp; round += 1) {
      signal?.throwIfAborted()
      for (const kind of shuffled(Object.keys(group.kinds))) {
        const make = group.kinds[kind] as (number: number) => Request
        const next = () => timed(make(numberOf(group, kind)), group.status, { port, agent }, `${group.name}, ${kind}`)
        const taken = await served(next)
        if (round >= warmUp) times.get(kind)?.push(taken)
      }
    }
  } finally {
    agent.destroy()
  }
  return compare(group, times)
}

/** A call that a busy machine sheds is repeated, as another sample. */
async function served(next: () => Promise<number | undefined>): Promise<number> {
  for (let attempt = 1; attempt < maxAttempts; attempt += 1) {
    const taken = await next()
    if (taken !== undefined) return taken
    await sleep(shedPauseMs)
  }
  throw new Error(`${maxAttempts} calls in turn were answered 503`)
}

const numbers = new Map<string, number>()
function numberOf({ name }: Group, kind: string): number {
  const key = `${name} ${kind}`
  numbers.set(key, (numbers.get(key) ?? 0) + 1)
  return numbers.get(key) as number
}

function compare({ name, kinds, against }: Group, times: Map<string, number[]>): Comparison[] {
  const [first, ...others] = Object.keys(kinds) as [string, ...string[]]
  return others.map((kind) => {
    const other = against?.[kind] ?? first
    const [of, to] = [times.get(kind) ?? [], times.get(other) ?? []]
    const medians: [number, number] = [median(of), median(to)]
    const [difference, area] = [medians[0] / medians[1] - 1, separability(of, to)]
    return { group: name, kind, against: other, samples: of.length, medians, difference, area }
  })
}

export function isSeparable({ difference, area }: Comparison): boolean {
  const [lowest, highest] = separabilityBounds
  return Math.abs(difference) >= maxMedianDifference || area < lowest || area > highest
}

/** The comparison as text. */
export function describe({ against, samples, medians, difference, area }: Comparison): string {
  const [of, to] = medians.map((each) => each.toFixed(2))
  return `${(100 * difference).toFixed(2)} %, AUC ${area.toFixed(3)} against "${against}" (${of} and ${to} ms, ${samples} samples each)`
}

function shuffled<T>(values: T[]): T[] {
  return values
    .map((value) => ({ value, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ value }) => value)
}

interface Connection {
  port: number
  agent: Agent
}

/** Milliseconds from the request to the end of its response; undefined for 503. */
function timed(
  { method, path, body, headers }: Request,
  status: number,
  connection: Connection,
  name: string
): Promise<number | undefined> {
  const text = body === undefined ? undefined : JSON.stringify(body)
  const type = text === undefined ? {} : { 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    const startedAt = performance.now()
    const options = { host: '127.0.0.1', ...connection, path, method, headers: { ...type, ...headers } }
    const sent = request(options, (response) => {
      response.resume()
      response.once('end', () => {
        if (response.statusCode === 503) resolve(undefined)
        else if (response.statusCode === status) resolve(performance.now() - startedAt)
        else reject(new Error(`${name}: answered ${response.statusCode}, must be ${status}`))
      })
    })
    sent.once('error', reject)
    sent.end(text)
  })
}
