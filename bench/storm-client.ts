/** Clients that log in again and again, each over a connection of its own. Argument: a JSON of StormOptions; prints a JSON of answers. */

import { Agent, type OutgoingHttpHeaders, request } from 'node:http'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

/** Who logs in, and how. */
export interface StormOptions {
  url: string
  clients: number
  seconds: number
  /** Client number n uses the account of this group and number; with `accounts`, one at random of that many. */
  group: string
  accounts?: number
  password: string
  /**
   * The address that the proxy reports of a client: the same all the time, or another for each request,
   * as if it was another user each time.
   */
  addresses: 'own' | 'many'
  /** The second number of these addresses, so that no storm meets the rate limits of another. */
  network: number
  /** Whether a refused client comes back when `Retry-After` says, or at once. */
  patient: boolean
}

/** An answer: when it came (ms since the epoch), its status (0: none came), how long it took. */
export type StormAnswer = [at: number, status: number, ms: number]

const options = JSON.parse(process.argv[2] ?? '') as StormOptions
const agent = new Agent({ keepAlive: true, maxSockets: options.clients })
const answers: StormAnswer[] = []
let addresses = 0

await warmUp()
const endsAt = Date.now() + options.seconds * 1000
const running: Promise<void>[] = []
for (let client = 1; client <= options.clients; client += 1) {
  running.push(logInAgainAndAgain(client))
  // Its request leaves first: what it takes to make those of all others is not the time of who is asked.
  await nextTurn()
}
await Promise.all(running)
console.log(JSON.stringify(answers))
agent.destroy()

/** Connects, and has Node.js compile what is below: that is the time of clients, not of what they ask. */
async function warmUp(): Promise<void> {
  const { origin } = new URL(options.url)
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: options.clients }, () => ask('GET', `${origin}/session`, {})))
  }
}

async function logInAgainAndAgain(client: number): Promise<void> {
  while (Date.now() < endsAt) {
    const account = options.accounts ? 1 + Math.floor(Math.random() * options.accounts) : client
    addresses += 1
    const address = options.addresses === 'own' ? client : addresses
    const startedAt = performance.now()
    const { status, retryAfterSeconds } = await logIn(
      account,
      `10.${options.network}.${(address >> 8) & 255}.${address & 255}`
    )
    answers.push([Date.now(), status, performance.now() - startedAt])
    if (options.patient && status !== 200)
      await sleep(Math.max(0, Math.min(retryAfterSeconds * 1000, endsAt - Date.now())))
  }
}

function logIn(account: number, address: string): Promise<Told> {
  const body = JSON.stringify({ email: `${options.group}-${account}@example.org`, password: options.password })
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'x-forwarded-for': address
  }
  return ask('POST', options.url, headers, body)
}

interface Told {
  status: number
  retryAfterSeconds: number
}

function ask(method: string, url: string, headers: OutgoingHttpHeaders, body?: string): Promise<Told> {
  return new Promise((resolve) => {
    const failed = () => resolve({ status: 0, retryAfterSeconds: 1 })
    request(url, { method, agent, headers, timeout: 15_000 }, (response) => {
      response.resume()
      response.on('error', failed)
      response.on('end', () => {
        const retryAfterSeconds = Number(response.headers['retry-after'] ?? 1)
        resolve({ status: response.statusCode ?? 0, retryAfterSeconds })
      })
    })
      .on('error', failed)
      .on('timeout', function (this: { destroy(): void }) {
        this.destroy()
      })
      .end(body)
  })
}
