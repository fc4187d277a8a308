/** Guesses at one account from many networks, and logins of an owner meanwhile; an overload by networks inside their limits. */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { figure, type Measurement, percentile } from './measurement.ts'
import type { Bench, Part } from './part.ts'
import { emailOf, password, registeredHash } from './population.ts'
import { type Product, startBeside } from './product.ts'
import { forwarded } from './requests.ts'

const maxCompared = 100
const goalP99Ms = 2000
const networks = 100
const overloadNetworks = 24
// Below 30 requests of a network in a minute.
const overloadIntervalMs = 2100
const ownerIntervalMs = 700

interface LoginResult {
  status: number
  ms: number
  deviceToken: string | null
}

/** The statuses of the owner's logins until the first 200, and its time. */
interface OwnerWait {
  statuses: number[]
  ms: number
}

type Headers = Record<string, string>

export const measureGuessing: Part = async (bench) => [...(await guessOneAccount(bench)), ...(await overload(bench))]

async function logIn(product: Product, email: string, written: string, headers: Headers): Promise<LoginResult> {
  const startedAt = performance.now()
  const response = await fetch(product.route('/auth'), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ email, password: written })
  })
  await response.arrayBuffer()
  const deviceToken = response.headers.get('x-device-token')
  return { status: response.status, ms: performance.now() - startedAt, deviceToken }
}

const network = (number: number): Headers => ({ 'x-forwarded-for': `198.18.${number >> 8}.${number & 255}` })

/** Without rate limits and with cheap hashes, so that only the gate bounds the guesses. */
async function guessOneAccount({ product, stores, quick, dataDir }: Bench): Promise<Measurement[]> {
  const settings = { USER_SVC_PASSWORD_COST: '4', GATEWAY_RATE_LIMIT_ENABLED: 'false' }
  const open = await startBeside(product, join(dataDir, 'guessing'), settings)
  try {
    await stores.addAccounts('guessed', 1, 1, await registeredHash(open, stores))
    const email = emailOf('guessed', 1)
    const { deviceToken } = await logIn(open, email, password, forwarded())
    const device = { 'x-device-token': deviceToken ?? '' }
    const guesses = quick ? 2000 : 10_000
    await attack(open, email, guesses)
    const [row] = await stores.sql<{ compared: number }[]>`
      select coalesce(max(cardinality(guesses)), 0)::int as compared from guess_counts`
    const compared = row?.compared ?? 0
    const known = await ownerDuring(open, email, () => ({ ...forwarded(), ...device }))
    const fresh = await ownerDuring(open, email, forwarded)
    return [
      {
        name: `guesses at one account that were compared, of ${figure(guesses)} over ${networks} networks`,
        goal: `≤ ${maxCompared}`,
        value: figure(compared),
        passed: compared <= maxCompared,
        details: 'without rate limits of the gateway'
      },
      ownerRow('the wait of its owner from a known device, in an attack', known),
      ownerRow('the wait of its owner from another network, in an attack', fresh)
    ]
  } finally {
    await open.stop()
  }
}

/** Twelve guesses at a time, the networks in turns. */
async function attack(product: Product, email: string, guesses: number, isStopped = () => false): Promise<void> {
  let next = 0
  async function worker(): Promise<void> {
    while (next < guesses && !isStopped()) {
      next += 1
      await logIn(product, email, `wrong password ${next}`, network(next % networks))
    }
  }
  await Promise.all(Array.from({ length: 12 }, worker))
}

/** The owner's logins until the first one succeeds, once a second, after the attack has used up the bound of all networks. */
async function ownerDuring(product: Product, email: string, headers: () => Headers): Promise<OwnerWait> {
  const statuses: number[] = []
  let isStopped = false
  const attacking = attack(product, email, Number.POSITIVE_INFINITY, () => isStopped)
  try {
    await sleep(30_000)
    const startedAt = performance.now()
    for (;;) {
      const { status } = await logIn(product, email, password, headers())
      statuses.push(status)
      if (status === 200 || statuses.length === 60) return { statuses, ms: performance.now() - startedAt }
      await sleep(1000)
    }
  } finally {
    isStopped = true
    await attacking
  }
}

function ownerRow(name: string, { statuses, ms }: OwnerWait): Measurement {
  return {
    name,
    goal: 'first try succeeds',
    value: `${figure(ms)} ms`,
    passed: statuses[0] === 200,
    details: `the tries answered ${statuses.join(', ')}; 30 s after the start of the attack`
  }
}

/** Networks inside their limits guess at addresses without an account, which costs as many hashes as the machine has. */
async function overload({ product, stores, quick }: Bench): Promise<Measurement[]> {
  await stores.addAccounts('owners', 1, 2, await registeredHash(product, stores))
  const [deviceOwner, otherOwner] = [emailOf('owners', 1), emailOf('owners', 2)]
  const { deviceToken } = await logIn(product, deviceOwner, password, forwarded())
  const seconds = quick ? 20 : 60
  const endsAt = performance.now() + 1000 * seconds
  const attackers: LoginResult[] = []
  async function attackFrom(number: number): Promise<void> {
    for (let count = 0; performance.now() < endsAt; count += 1) {
      const sent = logIn(product, `absent-${number}-${count}@example.org`, 'wrong password', network(1000 + number))
      void sent.then((result) => attackers.push(result))
      await sleep(overloadIntervalMs)
    }
  }
  async function owner(email: string, headers: () => Headers): Promise<LoginResult[]> {
    const results: LoginResult[] = []
    await sleep(3000)
    while (performance.now() < endsAt) {
      results.push(await logIn(product, email, password, headers()))
      await sleep(ownerIntervalMs)
    }
    return results
  }
  const device = { 'x-device-token': deviceToken ?? '' }
  const [known, fresh] = await Promise.all([
    owner(deviceOwner, () => ({ ...forwarded(), ...device })),
    owner(otherOwner, forwarded),
    ...Array.from({ length: overloadNetworks }, (_, number) => attackFrom(number))
  ])
  const details = `${overloadNetworks} networks, responses to them ${JSON.stringify(statusesOf(attackers))}`
  return [
    overloadRow('a known device', known ?? [], details),
    overloadRow('networks without a failure', fresh ?? [], details)
  ]
}

function statusesOf(results: LoginResult[]): Record<string, number> {
  const statuses: Record<string, number> = {}
  for (const { status } of results) statuses[status] = (statuses[status] ?? 0) + 1
  return statuses
}

function overloadRow(from: string, results: LoginResult[], details: string): Measurement {
  const p99 = percentile(
    results.map(({ ms }) => ms),
    99
  )
  return {
    name: `logins from ${from}, beside ${overloadNetworks} networks at their limits`,
    goal: `all succeed, p99 ≤ ${figure(goalP99Ms)} ms`,
    value: `p99 ${figure(p99)} ms`,
    passed: p99 <= goalP99Ms && results.every(({ status }) => status === 200),
    details: `${results.length} logins, statuses ${JSON.stringify(statusesOf(results))}; ${details}`
  }
}
