/** The random requests of the clients of one address. */

import type { watchEmails } from './emailed-tokens.ts'
import { nowNs } from './history.ts'
import { type Knowledge, type KnownSession, requestsOf, type Sender } from './requests.ts'

const clientsPerAddress = 3
// A list of many ended sessions makes the check slow, and shows nothing more.
const maxKnownSessions = 12

interface Visit extends Sender {
  email: string
  operations: number
  random: () => number
  /** The share of validations that are added to the weighted requests. */
  extraValidations: number
  emails: ReturnType<typeof watchEmails>
  /** Lets a reset email be sent, although the address has got one already. */
  permitEmail: () => Promise<unknown>
}

type Requests = ReturnType<typeof requestsOf>

/** Requests by weight; a request that needs a session, a password or a token is left out without one. */
const weights: [keyof Requests | 'logInReplacing', number][] = [
  ['validate', 46],
  ['logIn', 12],
  ['logInReplacing', 3],
  ['logOut', 8],
  ['register', 3],
  ['deleteAccount', 2],
  ['changePassword', 5],
  ['askForReset', 4],
  ['resetPassword', 5],
  ['endOne', 4],
  ['endOthers', 3],
  ['endAllSessions', 2],
  ['list', 4],
  ['readAccount', 3]
]
const lots = weights.flatMap(([name, weight]) => Array.from({ length: weight }, () => name))

/** Sends random requests about an address from several clients at the same time. @returns its history */
export async function visit(options: Visit): Promise<Knowledge> {
  const { email, random, extraValidations, emails, permitEmail } = options
  const known: Knowledge = { email, sessions: [], passwords: [], emailedTokens: [], operations: [] }
  const requests = requestsOf(known, options)
  const pick = <T>(values: T[]) => values[Math.floor(random() * values.length)]
  let sent = 0
  /** When each request for an email was sent, but those that were certainly not applied. */
  const requestedAt = new Set<number>()

  /** Mostly a session that may be valid, and mostly a new one. */
  function someSession(): KnownSession | undefined {
    const recent = known.sessions.slice(-maxKnownSessions)
    const open = recent.filter(({ ended }) => !ended)
    return pick(open.length > 0 && random() < 0.7 ? open : recent)
  }

  function somePassword(): string {
    return (random() < 0.75 ? known.passwords.at(-1) : pick(known.passwords)) ?? 'not the password of any account'
  }

  function receiveEmails(): void {
    for (const token of emails.take(email)) {
      const [earliest] = requestedAt
      if (earliest === undefined) throw new Error('an email arrived whose request was answered 503')
      requests.emailArrived(token, earliest)
    }
  }

  async function permitAndAsk(): Promise<void> {
    await permitEmail()
    const call = nowNs()
    requestedAt.add(call)
    if (await requests.askForReset()) requestedAt.delete(call)
  }

  function next(): Promise<void> {
    const session = someSession()
    const other = someSession()
    const name = random() < extraValidations ? 'validate' : (pick(lots) ?? 'validate')
    if (name === 'register' || session === undefined || other === undefined) {
      return session === undefined && random() < 0.5 ? requests.logIn(somePassword()) : requests.register()
    }
    if (name === 'askForReset') return permitAndAsk()
    if (name === 'resetPassword') {
      const token = random() < 0.8 ? known.emailedTokens.at(-1) : pick(known.emailedTokens)
      return token === undefined ? permitAndAsk() : requests.resetPassword(token)
    }
    if (name === 'logIn') return requests.logIn(somePassword())
    if (name === 'logInReplacing') return requests.logIn(somePassword(), session)
    if (name === 'changePassword') return requests.changePassword(session, somePassword())
    if (name === 'endOne') return requests.endOne(session, other)
    return requests[name as 'validate'](session)
  }

  async function client(): Promise<void> {
    while (sent++ < options.operations) {
      receiveEmails()
      await next()
    }
  }

  await requests.register()
  await Promise.all(Array.from({ length: clientsPerAddress }, client))
  // The outcome of every request is observed once more.
  for (const session of known.sessions.slice(-maxKnownSessions)) await requests.validate(session)
  await requests.logIn(somePassword())
  return known
}
