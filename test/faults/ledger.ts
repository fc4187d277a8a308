/** The ledger of a fault test: all accounts, sessions, requests and responses, and the invariants that did not hold. */

import { routes } from '../../gateway/test/all-routes.ts'
import { type Answer, newAddress, password } from '../support/product.ts'

/**
 * `never`: the registration was answered 503; `unknown`: 504; `leaving`: the deletion was answered 504, so the account may
 * end at any time, even after it was seen again; `lost`: the database was emptied.
 */
export interface Account {
  email: string
  state: 'new' | 'exists' | 'gone' | 'never' | 'unknown' | 'leaving' | 'lost'
  sessions: Session[]
  /** The passwords that the account may have: more than one after a change with an unknown outcome. */
  passwords: string[]
  /** The requests about the account, with status and trace. */
  history: string[]
}

export interface Session {
  id: string
  token: string
  account: Account
  state: 'valid' | 'ended' | 'unknown'
}

/** One request and its response; status 0: there was no response. */
export interface Entry {
  route: string
  status: number
  traceId: string
  tookMs: number
  endedAtMs: number
}

export interface Response {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: bodies have many shapes
  body: any
  /** Records a broken invariant with the trace and the history of the account. */
  violated(invariant: string): void
}

/** The time that a busy machine may add. */
export const slackMs = 2500
const noResponseAfterMs = 30_000
/** Declared problems that no valid request of a fault test causes. */
const invalidInput = new Set([400, 403, 413, 415, 429])

/** The statuses that a route may answer to valid input under any fault, and the time that it may take. */
export function contractOf(name: string): { statuses: number[]; budgetMs: number } {
  const route = routes.find((each) => each.name === name)
  if (route === undefined) throw new Error(`the gateway has no route ${name}`)
  const problems = route.problems.filter((status) => !invalidInput.has(status))
  return { statuses: [route.success, ...problems], budgetMs: route.budgetMs }
}

export function newAccount(): Account {
  return { email: newAddress(), state: 'new', sessions: [], passwords: [password], history: [] }
}

interface RequestOptions {
  token?: string
  json?: unknown
  /** The path, if it is not that of the route. */
  path?: string
  /** Client errors that the state of the account permits. */
  permitted?: number[]
}
type Call = (method: string, path: string, options?: RequestOptions) => Promise<Answer>

export type Ledger = ReturnType<typeof createLedger>

export function createLedger(call: Call) {
  const accounts: Account[] = []
  const journal: Entry[] = []
  const broken: string[] = []

  /** Sends a request about an account, and checks its response against the contract of the route. */
  async function send(route: string, account: Account, options: RequestOptions): Promise<Response> {
    const startedAt = performance.now()
    const { status, headers, body } = await responseOf(call, route, options)
    const endedAtMs = performance.now()
    const tookMs = endedAtMs - startedAt
    const traceId = headers.get('x-request-id') ?? 'none'
    journal.push({ route, status, traceId, tookMs, endedAtMs })
    account.history.push(`${route} ${status} ${traceId}`)
    function violated(invariant: string): void {
      broken.push(`${route}: ${invariant}; history: ${account.history.slice(-8).join(', ')} (trace ${traceId})`)
    }
    const { statuses, budgetMs } = contractOf(route)
    if (![...statuses, ...(options.permitted ?? [])].includes(status))
      violated(`answered ${status || `nothing: ${body}`}`)
    if (tookMs > budgetMs + slackMs) violated(`took ${Math.round(tookMs)} ms`)
    if (status === 503 && headers.get('retry-after') === null) violated('503 without Retry-After')
    return { status, body, violated }
  }

  return {
    accounts,
    journal,
    /** The invariants that did not hold, each with the trace of the request that showed it. */
    broken,
    send,

    /** For a database that was emptied: the accounts are lost, which is no fault of the product. */
    forgetAccounts(): void {
      for (const account of accounts) if (account.state !== 'never') account.state = 'lost'
    },

    /** For a Redis that was emptied: the sessions may have ended. */
    forgetSessions(): void {
      for (const session of accounts.flatMap((account) => account.sessions)) {
        if (session.state === 'valid') session.state = 'unknown'
      }
    }
  }
}

async function responseOf(call: Call, route: string, options: RequestOptions): Promise<Answer> {
  const [method = '', routePath = ''] = route.split(' ')
  const { path = routePath, token, json } = options
  const nothing = (body: unknown): Answer => ({ status: 0, headers: new Headers(), body })
  return Promise.race([
    call(method, path, { ...(token !== undefined && { token }), ...(json !== undefined && { json }) }).catch((error) =>
      nothing(error.cause ?? error)
    ),
    new Promise<Answer>((resolve) => {
      setTimeout(() => resolve(nothing('no response')), noResponseAfterMs).unref()
    })
  ])
}
