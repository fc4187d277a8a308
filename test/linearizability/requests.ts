/** The requests about an address: each is recorded with its response, and updates what its clients know. */

import { randomBytes } from 'node:crypto'
import type { Reply, Send } from './client.ts'
import { nowNs, type Operation } from './history.ts'

/** A session that a response has returned; `id` is public. */
export interface KnownSession {
  id: string
  token: string
  account: string
  /** Whether a response has shown its end. */
  ended: boolean
}

/** What the clients of an address know. */
export interface Knowledge {
  email: string
  sessions: KnownSession[]
  /** The passwords that the account may have had, the newest last. */
  passwords: string[]
  emailedTokens: string[]
  operations: Operation[]
}

export interface Sender {
  send: Send
  endAllSessions: (userId: string) => Promise<number>
  /** The number of responses by request and status. */
  count: (request: string, status: number) => void
}

const reads = new Set(['validate', 'list', 'account'])
const permitted: Record<string, number[]> = {
  register: [201, 409],
  login: [200, 401],
  'login replacing': [200, 401],
  validate: [200, 401],
  logout: [204],
  delete: [204, 401],
  change: [200, 401, 403],
  'end one': [204, 401],
  'end others': [204, 401],
  'end all': [200, 404],
  reset: [204, 403],
  list: [200, 401],
  account: [200, 401]
}
const newPassword = () => `correct horse ${randomBytes(6).toString('hex')}`

export function requestsOf(known: Knowledge, { send, endAllSessions, count }: Sender) {
  /**
   * A read without a response, and a request that was certainly not applied, are not in the history.
   *
   * @param result the parts of the response that the model knows
   */
  async function record(
    operation: Omit<Operation, 'call' | 'status'>,
    request: () => Promise<Reply>,
    result: (reply: Reply) => Partial<Operation> = () => ({})
  ): Promise<Reply> {
    const call = nowNs()
    const reply = await request()
    const { status } = reply
    const { name } = operation
    count(name, status)
    const isUnknown = status === 0 || status === 504
    if (status === 503 || status === -1 || (isUnknown && reads.has(name))) return reply
    const outcome = isUnknown ? { status: 0 } : { status, return: nowNs() }
    if (!isUnknown && !permitted[name]?.includes(status)) throw new Error(`${name} was answered ${status}`)
    known.operations.push({ ...operation, call, ...outcome, ...result(reply) })
    return reply
  }

  function open({ body }: Reply, account: string): void {
    known.sessions.push({ id: body.session.id, token: body.session.token, account, ended: false })
  }

  function endAll(except?: KnownSession): void {
    for (const each of known.sessions) if (each !== except) each.ended = true
  }

  const by = ({ id }: KnownSession) => ({ by: id })
  const applied = ({ status }: Reply) => status === 200 || status === 201 || status === 204
  const mayBeApplied = (reply: Reply) => applied(reply) || reply.status === 0 || reply.status === 504

  return {
    async register(): Promise<void> {
      const password = newPassword()
      const json = { email: known.email, password }
      const operation = { name: 'register', newPassword: password }
      const reply = await record(operation, () => send('POST', '/reg', { json }), openedSession)
      if (mayBeApplied(reply)) known.passwords.push(password)
      if (reply.status === 201) open(reply, reply.body.user.id)
    },

    async logIn(password: string, replaced?: KnownSession): Promise<void> {
      const operation = replaced ? { name: 'login replacing', password, ...by(replaced) } : { name: 'login', password }
      const content = { token: replaced?.token, json: { email: known.email, password } }
      const reply = await record(operation, () => send('POST', '/auth', content), openedSession)
      if (reply.status === 200) open(reply, reply.body.user.id)
    },

    async validate(session: KnownSession): Promise<void> {
      const { token } = session
      const { status } = await record({ name: 'validate', ...by(session) }, () => send('GET', '/session', { token }))
      if (status === 401) session.ended = true
    },

    async logOut(session: KnownSession): Promise<void> {
      const { token } = session
      const reply = await record({ name: 'logout', ...by(session) }, () => send('DELETE', '/logout', { token }))
      if (applied(reply)) session.ended = true
    },

    async deleteAccount(session: KnownSession): Promise<void> {
      const { token } = session
      const reply = await record({ name: 'delete', ...by(session) }, () => send('DELETE', '/delete', { token }))
      if (applied(reply)) endAll()
    },

    async changePassword(session: KnownSession, password: string): Promise<void> {
      const changed = newPassword()
      const operation = { name: 'change', password, newPassword: changed, ...by(session) }
      const content = { token: session.token, json: { currentPassword: password, newPassword: changed } }
      const reply = await record(operation, () => send('PUT', '/password', content), openedSession)
      if (mayBeApplied(reply)) known.passwords.push(changed)
      if (!applied(reply)) return
      endAll()
      open(reply, session.account)
    },

    async endOne(session: KnownSession, other: KnownSession): Promise<void> {
      const operation = { name: 'end one', session: other.id, ...by(session) }
      const { token } = session
      const reply = await record(operation, () => send('DELETE', `/sessions/${other.id}`, { token }))
      if (applied(reply)) other.ended = true
    },

    async endOthers(session: KnownSession): Promise<void> {
      const { token } = session
      const reply = await record({ name: 'end others', ...by(session) }, () => send('DELETE', '/sessions', { token }))
      if (applied(reply)) endAll(session)
    },

    async endAllSessions({ account }: KnownSession): Promise<void> {
      const request = async () => ({ status: await endAllSessions(account), body: undefined })
      const reply = await record({ name: 'end all', account }, request)
      if (applied(reply)) endAll()
    },

    async list(session: KnownSession): Promise<void> {
      const { account, token } = session
      const earlier = known.sessions.filter((each) => each.account === account)
      await record(
        { name: 'list', ...by(session) },
        () => send('GET', '/sessions', { token }),
        ({ status, body }) => {
          if (status !== 200) return {}
          const ids = new Set<string>(body.sessions.map(({ id }: { id: string }) => id))
          const idsOf = (sessions: KnownSession[]) => sessions.map(({ id }) => id)
          const listed = idsOf(known.sessions.filter(({ id }) => ids.has(id)))
          return { listed, absent: idsOf(earlier.filter(({ id }) => !ids.has(id))) }
        }
      )
    },

    async readAccount(session: KnownSession): Promise<void> {
      const { token } = session
      await record({ name: 'account', ...by(session) }, () => send('GET', '/account', { token }))
    },

    /** Requests the email of a reset. @returns whether the request was certainly not applied */
    async askForReset(): Promise<boolean> {
      const { status } = await send('POST', '/password/reset', { json: { email: known.email } })
      count('email', status)
      return status === 503 || status === -1
    },

    /** Records that the token of an email has arrived. */
    emailArrived(token: string, call: number): void {
      known.operations.push({ name: 'email', token, call, return: nowNs(), status: 200 })
      known.emailedTokens.push(token)
    },

    async resetPassword(token: string): Promise<void> {
      const password = newPassword()
      const json = { token, newPassword: password }
      const operation = { name: 'reset', token, newPassword: password }
      const reply = await record(operation, () => send('PUT', '/password/reset', { json }))
      if (mayBeApplied(reply)) known.passwords.push(password)
      if (applied(reply)) endAll()
    }
  }
}

/** The session that a response has created, and its account if the response names it. */
function openedSession({ status, body }: Reply): Partial<Operation> {
  if (status !== 200 && status !== 201) return {}
  return { session: body.session.id, ...(body.user && { account: body.user.id }) }
}
