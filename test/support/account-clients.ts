/** Clients of all flows of an account, over REST and over RPC, with the same results. */

import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { reasonMetadata } from '#common/errors/connect-errors.ts'
import { testTransport } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'

interface Login {
  userId: string
  token: string
  sessionId: string
  emailVerified: boolean
}

interface ListedSession {
  id: string
  userAgent: string
  current: boolean
}

/** The steps of the life of an account. An error is the problem type of REST, without its prefix. */
export interface AccountClient {
  register(email: string, secret: string): Promise<Login>
  logIn(email: string, secret: string): Promise<Login>
  isValid(login: Login): Promise<boolean>
  account(login: Login): Promise<{ email: string; emailVerified: boolean }>
  changePassword(login: Login, current: string, next: string): Promise<Login>
  requestReset(email: string): Promise<void>
  resetPassword(token: string, next: string): Promise<void>
  changeEmail(login: Login, email: string, secret: string): Promise<void>
  requestVerification(login: Login): Promise<void>
  verify(token: string): Promise<void>
  sessions(login: Login): Promise<ListedSession[]>
  endSession(login: Login, id: string): Promise<void>
  endOthers(login: Login): Promise<void>
  logOut(login: Login): Promise<void>
  deleteAccount(login: Login): Promise<void>
}

/** The user agent of the clients. */
export const userAgent = 'lifecycle test'

export function restClient(port: number): AccountClient {
  const base = `http://127.0.0.1:${port}`

  async function send(method: string, path: string, { token, ...json }: { token?: string } & Record<string, unknown>) {
    const hasBody = Object.keys(json).length > 0
    const response = await fetch(`${base}${path}`, {
      method,
      headers: {
        'user-agent': userAgent,
        ...(hasBody && { 'content-type': 'application/json' }),
        ...(token !== undefined && { authorization: `Bearer ${token}` })
      },
      body: hasBody ? JSON.stringify(json) : null
    })
    const text = await response.text()
    const body = text === '' ? undefined : JSON.parse(text)
    if (!response.ok) throw new Error(String(body.type).replace('urn:problem-type:', ''))
    return body
  }
  const loginOf = ({ user, session }: Awaited<ReturnType<typeof send>>): Login => {
    return { userId: user.id, token: session.token, sessionId: session.id, emailVerified: user.emailVerified }
  }

  return {
    register: async (email, secret) => loginOf(await send('POST', '/reg', { email, password: secret })),
    logIn: async (email, secret) => loginOf(await send('POST', '/auth', { email, password: secret })),
    isValid: ({ token }) =>
      send('GET', '/session', { token }).then(
        () => true,
        (error) => {
          if (error.message === 'unauthenticated') return false
          throw error
        }
      ),
    async account({ token }) {
      const { email, emailVerified } = (await send('GET', '/account', { token })).user
      return { email, emailVerified }
    },
    async changePassword({ token, userId }, currentPassword, newPassword) {
      const { session } = await send('PUT', '/password', { token, currentPassword, newPassword })
      return loginOf({ user: { id: userId, emailVerified: true }, session })
    },
    requestReset: (email) => send('POST', '/password/reset', { email }),
    // `send` takes a session token by this name, so the emailed token goes by another way.
    resetPassword: (token, newPassword) => sendToken('/password/reset', { token, newPassword }),
    changeEmail: ({ token }, email, secret) => send('PUT', '/email', { token, email, password: secret }),
    requestVerification: ({ token }) => send('POST', '/email/verification', { token }),
    verify: (token) => sendToken('/email/verification', { token }),
    sessions: async ({ token }) => (await send('GET', '/sessions', { token })).sessions,
    endSession: ({ token }, id) => send('DELETE', `/sessions/${id}`, { token }),
    endOthers: ({ token }) => send('DELETE', '/sessions', { token }),
    logOut: ({ token }) => send('DELETE', '/logout', { token }),
    deleteAccount: ({ token }) => send('DELETE', '/delete', { token })
  }

  async function sendToken(path: string, json: Record<string, string>): Promise<void> {
    const headers = { 'content-type': 'application/json' }
    const response = await fetch(`${base}${path}`, { method: 'PUT', headers, body: JSON.stringify(json) })
    if (response.ok) return
    const { type } = (await response.json()) as { type: string }
    throw new Error(type.replace('urn:problem-type:', ''))
  }
}

export function rpcClient(product: { ports: { users: number; sessions: number }; rpcToken: string }): AccountClient {
  const users = createClient(UserService, testTransport(product.ports.users, product.rpcToken))
  const sessions = createClient(SessionService, testTransport(product.ports.sessions, product.rpcToken))
  const types: Record<string, string> = { WRONG_PASSWORD: 'wrong-password', TOKEN_REJECTED: 'invalid-token' }

  /** Names an error as the gateway does. */
  async function named<T>(call: Promise<T>): Promise<T> {
    try {
      return await call
    } catch (thrown) {
      const error = ConnectError.from(thrown)
      const reason = Object.keys(types).find((each) => reasonMetadata(error, 'user.v1', each) !== undefined)
      throw new Error(types[reason ?? ''] ?? Code[error.code]?.replace(/(?<=[a-z])(?=[A-Z])/g, '-').toLowerCase())
    }
  }
  interface Answer {
    user?: { id: string; emailVerified?: boolean | undefined } | undefined
    session?: { id: string } | undefined
    token: string
  }
  const loginOf = ({ user, session, token }: Answer): Login => {
    const { id = '', emailVerified = false } = user ?? {}
    return { userId: id, token, sessionId: session?.id ?? '', emailVerified }
  }

  return {
    register: async (email, secret) =>
      loginOf(await named(users.registerAndLogin({ email, password: secret, userAgent }))),
    logIn: async (email, secret) =>
      loginOf(await named(users.authenticateAndLogin({ email, password: secret, userAgent }))),
    isValid: async ({ token }) => (await sessions.validateSession({ token })).result.case === 'session',
    async account({ userId }) {
      const { user } = await named(users.getAccount({ userId }))
      return { email: user?.email ?? '', emailVerified: user?.emailVerified ?? false }
    },
    async changePassword({ userId }, currentPassword, newPassword) {
      const answer = await named(users.changePassword({ userId, currentPassword, newPassword, userAgent }))
      return loginOf({ ...answer, user: { id: userId, emailVerified: true } })
    },
    requestReset: async (email) => void (await named(users.requestPasswordReset({ email }))),
    resetPassword: async (token, newPassword) => void (await named(users.resetPassword({ token, newPassword }))),
    changeEmail: async ({ userId }, email, secret) =>
      void (await named(users.changeEmail({ userId, email, password: secret }))),
    requestVerification: async ({ userId }) => void (await named(users.requestEmailVerification({ userId }))),
    verify: async (token) => void (await named(users.verifyEmail({ token }))),
    sessions: async ({ userId, sessionId }) =>
      (await sessions.listSessions({ userId, currentSessionId: sessionId })).sessions,
    endSession: async ({ userId }, sessionId) =>
      void (await sessions.deleteSession({ target: { case: 'reference', value: { userId, sessionId } } })),
    endOthers: async ({ userId, sessionId }) =>
      void (await named(users.endOtherSessions({ userId, keptSessionId: sessionId }))),
    logOut: async ({ token }) => void (await named(users.logout({ token }))),
    deleteAccount: async ({ userId }) => void (await named(users.deleteAccount({ userId })))
  }
}
