/**
 * Response times that could show whether an account exists: pairs of requests that must not be separable, in random order,
 * without other load and beside 500 validations a second.
 */

import { randomBytes, randomUUID } from 'node:crypto'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { figure, type Measurement, median, separability } from './measurement.ts'
import type { Part } from './part.ts'
import { emailOf, password, registeredHash, type Stores } from './population.ts'
import { type Product, startBeside } from './product.ts'
import { rawLoad } from './raw-load.ts'
import { forwarded, validationRequests } from './requests.ts'

const maxMedianDifference = 0.02
const separabilityBounds = [0.45, 0.55] as const
// The first requests of a route run code that is not optimized yet.
const warmUpSamples = 100
const loadPerSecond = 500

interface Request {
  method: string
  path: string
  body: Record<string, unknown>
  token?: string
}

/** Two kinds of requests of one route; `next` returns a request that no earlier call has returned. */
interface Pair {
  name: string
  status: number
  known: (number: number) => Request
  unknown: (number: number) => Request
}

export const measureEnumeration: Part = async ({ product, stores, quick, dataDir }) => {
  const samples = quick ? 200 : 1000
  // The cheapest hash: it hides the least.
  const cheap = await startBeside(product, join(dataDir, 'cost-4'), { USER_SVC_PASSWORD_COST: '4' })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  try {
    const rows: Measurement[] = []
    for (const pair of await createPairs(cheap, stores, 2 * (samples + warmUpSamples))) {
      let number = 0
      const measure = (count: number) => samplePair(cheap, agent, pair, count, () => ++number)
      await measure(warmUpSamples)
      rows.push(row(`${pair.name}, idle`, await measure(samples)))
      const load = startLoad(cheap, stores, quick ? 10 : 30)
      await (await load).started
      rows.push(row(`${pair.name}, loaded`, await measure(samples)))
      await (await load).ended
    }
    return rows
  } finally {
    agent.destroy()
    await cheap.stop()
  }
}

async function createPairs(product: Product, stores: Stores, count: number): Promise<Pair[]> {
  const hash = await registeredHash(product, stores)
  await stores.addAccounts('enumerated', 1, 2 * count, hash)
  const session = await newSession(product)
  const known = (number: number) => emailOf('enumerated', number)
  const unknown = () => `${randomUUID()}@example.org`
  const forgedToken = (id: string) =>
    Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), randomBytes(32)]).toString('base64url')
  const emailIds = await stores.sql<{ id: string }[]>`select id from emails where purpose = 'verify' limit 1`
  const emailId = emailIds[0]?.id ?? randomUUID()
  const ask = (email: string) => ({ method: 'POST', path: '/password/reset', body: { email } })
  const logIn = (email: string) => ({ method: 'POST', path: '/auth', body: { email, password: 'wrong password 1' } })
  const move = (email: string) => ({ method: 'PUT', path: '/email', body: { email, password }, token: session })
  const verify = (id: string) => ({ method: 'PUT', path: '/email/verification', body: { token: forgedToken(id) } })
  const reset = (id: string) => {
    const body = { token: forgedToken(id), newPassword: 'correct horse battery 2' }
    return { method: 'PUT', path: '/password/reset', body }
  }
  return [
    {
      name: 'POST /password/reset, known or unknown',
      status: 202,
      known: (number) => ask(known(number)),
      unknown: () => ask(unknown())
    },
    {
      name: 'POST /password/reset over its limit',
      status: 202,
      known: () => ask(known(1)),
      unknown: () => ask('limited@example.org')
    },
    { name: 'POST /auth', status: 401, known: (number) => logIn(known(number)), unknown: () => logIn(unknown()) },
    {
      name: 'PUT /email, taken or free',
      status: 202,
      known: (number) => move(known(number + count)),
      unknown: () => move(unknown())
    },
    {
      name: 'PUT /password/reset, forged token of a row or of none',
      status: 403,
      known: () => reset(emailId),
      unknown: () => reset(randomUUID())
    },
    {
      name: 'PUT /email/verification, the same',
      status: 403,
      known: () => verify(emailId),
      unknown: () => verify(randomUUID())
    }
  ]
}

async function newSession(product: Product): Promise<string> {
  const email = `${randomUUID()}@example.org`
  const response = await fetch(product.route('/reg'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...forwarded() },
    body: JSON.stringify({ email, password })
  })
  const { session } = (await response.json()) as { session: { token: string } }
  return session.token
}

interface Samples {
  known: number[]
  unknown: number[]
}

async function samplePair(
  product: Product,
  agent: Agent,
  pair: Pair,
  count: number,
  next: () => number
): Promise<Samples> {
  const samples: Samples = { known: [], unknown: [] }
  for (let round = 0; round < count; round += 1) {
    const kinds = Math.random() < 0.5 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const)
    for (const kind of kinds) samples[kind].push(await timed(product, agent, pair[kind](next()), pair.status))
  }
  return samples
}

/** Milliseconds from the request to the end of its response. */
function timed(product: Product, agent: Agent, { method, path, body, token }: Request, status: number) {
  const headers = {
    'content-type': 'application/json',
    ...forwarded(),
    ...(token !== undefined && { authorization: `Bearer ${token}` })
  }
  return new Promise<number>((resolve, reject) => {
    const startedAt = performance.now()
    const sent = request(product.route(path), { method, agent, headers }, (response) => {
      response.resume()
      response.once('end', () => {
        if (response.statusCode === status) resolve(performance.now() - startedAt)
        else reject(new Error(`${method} ${path} answered ${response.statusCode}, must be ${status}`))
      })
    })
    sent.once('error', reject)
    sent.end(JSON.stringify(body))
  })
}

async function startLoad(product: Product, stores: Stores, seconds: number) {
  const requests = validationRequests(product.route('/session'), await stores.addSessions(1000))
  const url = product.route('/session')
  const ended = rawLoad({ url, connections: 16, seconds, requests, ratePerSecond: loadPerSecond })
  return { ended, started: new Promise((resolve) => setTimeout(resolve, 1000)) }
}

function row(name: string, { known, unknown }: Samples): Measurement {
  const difference = median(known) / median(unknown) - 1
  const area = separability(known, unknown)
  const [lowest, highest] = separabilityBounds
  return {
    name,
    goal: `< ${100 * maxMedianDifference} %, AUC ${lowest} to ${highest}`,
    value: `${figure(100 * difference, 2)} %, AUC ${figure(area, 3)}`,
    passed: Math.abs(difference) < maxMedianDifference && area >= lowest && area <= highest,
    details: `medians ${figure(median(known), 3)} and ${figure(median(unknown), 3)} ms of ${known.length} requests each`,
    figures: { difference, area }
  }
}
