/** Everything that was asked and answered, and what must be true because of it: the invariants, checked with each answer. */

import { type Answer, newAddress, password } from '../support/product.ts'

/**
 * What is known of an account. `never`: its registration was answered by 503; `unknown`: by 504; `leaving`: its deletion
 * was answered by 504, so it may end at any time, also when it was seen since; `lost`: the database came back empty.
 */
export interface Account {
  email: string
  state: 'new' | 'exists' | 'gone' | 'never' | 'unknown' | 'leaving' | 'lost'
  sessions: Session[]
  /** What was asked about it, and how that was answered. */
  history: string[]
}

export interface Session {
  token: string
  account: Account
  state: 'valid' | 'ended' | 'unknown'
}

/** One request and its answer. */
export interface Entry {
  route: Route
  status: number
  traceId: string
  tookMs: number
  endedAtMs: number
}

/** What a route may answer to valid input, whatever is broken, and how long it may take. */
export const contract = {
  'POST /reg': { statuses: [201, 409, 503, 504], budgetMs: 5000 },
  'POST /auth': { statuses: [200, 401, 503, 504], budgetMs: 5000 },
  'GET /session': { statuses: [200, 401, 503], budgetMs: 1000 },
  'DELETE /logout': { statuses: [204, 503, 504], budgetMs: 3000 },
  'DELETE /delete': { statuses: [204, 401, 503, 504], budgetMs: 3000 }
} as const
export type Route = keyof typeof contract

/** What a busy machine may add to any time. */
export const slackMs = 2500
const giveUpMs = 30_000

export type Ledger = ReturnType<typeof createLedger>

type Call = (method: string, path: string, options?: { token?: string; json?: unknown }) => Promise<Answer>

export function createLedger(call: Call) {
  const accounts: Account[] = []
  const journal: Entry[] = []
  const broken: string[] = []

  function violated(what: string, traceId: string): void {
    broken.push(`${what} (trace ${traceId})`)
  }

  async function ask(account: Account, route: Route, options: { token?: string; json?: unknown }) {
    const [method, path] = route.split(' ') as [string, string]
    const startedAt = performance.now()
    const answer = await Promise.race([
      call(method, path, options).catch((error) => ({ status: 0, headers: new Headers(), body: error.cause ?? error })),
      new Promise<Answer>((resolve) => {
        const late = () => resolve({ status: 0, headers: new Headers(), body: 'no answer' })
        setTimeout(late, giveUpMs).unref()
      })
    ])
    const endedAtMs = performance.now()
    const traceId = answer.headers.get('x-request-id') ?? 'none'
    const tookMs = endedAtMs - startedAt
    const { status } = answer
    journal.push({ route, status, traceId, tookMs, endedAtMs })
    const { statuses, budgetMs } = contract[route]
    if (!(statuses as readonly number[]).includes(status)) {
      violated(`${route} answered ${status || `nothing: ${answer.body}`}`, traceId)
    }
    if (tookMs > budgetMs + slackMs) violated(`${route} took ${Math.round(tookMs)} ms`, traceId)
    if (status === 503 && answer.headers.get('retry-after') === null) violated(`${route}: 503, no Retry-After`, traceId)
    account.history.push(`${route} ${status} ${traceId}`)
    const tell = (what: string) =>
      violated(`${route}: ${what}; before: ${account.history.slice(-8).join(', ')}`, traceId)
    return { status, body: answer.body, violated: tell }
  }

  function begin(account: Account, token: string): Session {
    const session: Session = { token, account, state: account.state === 'leaving' ? 'unknown' : 'valid' }
    account.sessions.push(session)
    return session
  }

  return {
    accounts,
    journal,
    /** The invariants that did not hold, each with the trace of the request that showed it. */
    broken,

    async register(account: Account = { email: newAddress(), state: 'new', sessions: [], history: [] }) {
      if (account.state === 'new') accounts.push(account)
      const before = account.state
      const { status, body, violated } = await ask(account, 'POST /reg', { json: { email: account.email, password } })
      if (status === 201) {
        if (before === 'exists') violated('an address was registered twice')
        account.state = 'exists'
        begin(account, body.session.token)
      } else if (status === 409) {
        if (before === 'new') violated('an address that nobody has is taken')
        if (before === 'never') violated('a registration that was answered by 503 left an account')
        if (before === 'gone') violated('an account that was deleted is there')
        if (before === 'unknown') account.state = 'exists'
      } else if (before === 'new' || before === 'never' || before === 'gone') {
        account.state = status === 503 ? 'never' : 'unknown'
      }
      return { status, account }
    },

    async logIn(account: Account, using = password) {
      const { status, body, violated } = await ask(account, 'POST /auth', {
        json: { email: account.email, password: using }
      })
      if (status === 200) {
        if (using !== password) violated('a wrong password was taken')
        if (account.state === 'never') violated('a registration that was answered by 503 left an account')
        if (account.state === 'gone') violated('an account that was deleted can log in')
        if (account.state === 'unknown') account.state = 'exists'
        return { status, session: begin(account, body.session.token) }
      }
      if (status === 401 && using === password && account.state === 'exists') {
        violated('an account that exists cannot log in')
      }
      return { status, session: undefined }
    },

    async validate(session: Session) {
      const before = session.state
      const { status, violated } = await ask(session.account, 'GET /session', { token: session.token })
      // What has been ended meanwhile could be seen either way.
      if (status === 200 && before === 'ended') violated('a session that has ended is valid')
      if (status === 401 && before === 'valid' && session.state === 'valid') {
        violated('a valid session was answered 401')
      }
      if (status === 401) session.state = 'ended'
      return { status }
    },

    async logOut(session: Session) {
      const { status } = await ask(session.account, 'DELETE /logout', { token: session.token })
      if (status === 204) session.state = 'ended'
      else if (status !== 503 && session.state === 'valid') session.state = 'unknown'
      return { status }
    },

    async remove(session: Session) {
      const { account, state: before } = session
      const { status, violated } = await ask(account, 'DELETE /delete', { token: session.token })
      if (status === 204) {
        if (before === 'ended') violated('a session that has ended deleted an account')
        account.state = 'gone'
        for (const each of account.sessions) each.state = 'ended'
      } else if (status === 401) {
        if (before === 'valid') violated('a valid session was answered 401')
        session.state = 'ended'
      } else if (status !== 503) {
        if (account.state !== 'gone') account.state = 'leaving'
        for (const each of account.sessions) if (each.state === 'valid') each.state = 'unknown'
      }
      return { status }
    },

    /** The database came back empty: nobody is known any more, for a reason that is not the product's. */
    forgetAccounts(): void {
      for (const account of accounts) if (account.state !== 'never') account.state = 'lost'
    },

    /** Redis came back empty: who was logged in is not any more. */
    forgetSessions(): void {
      for (const session of accounts.flatMap((account) => account.sessions)) {
        if (session.state === 'valid') session.state = 'unknown'
      }
    }
  }
}
