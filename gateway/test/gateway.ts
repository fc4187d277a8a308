/** Builds a gateway for a test: user-svc and session-svc are Connect services that the test writes, Redis is real. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type ServiceImpl,
  type Transport
} from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { loadConfig, type Values } from '#common/config/load.ts'
import { createLogger } from '#common/logging/logger.ts'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { buildRpcServer } from '#common/rpc/server/server.ts'
import { createToken, sessionId } from '#common/session/session-token.ts'
import { alwaysReady, engineAddress, silentLog, testRpc } from '#common/testing/service.ts'
import { file_session_v1_session, SessionSchema, SessionService } from '#gen/session/v1/session_pb.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'
import { buildApp, type GatewayParts } from '../app.ts'
import { gateway } from '../config.ts'
import { rateLimitScripts } from '../plugins/rate-limit-store.ts'
import { browserHeaders } from '../response-headers.ts'
import { validateEach } from './validate-each.ts'

type Options = Values<typeof gateway>
type Ending = Pick<Test, 'teardown'>

/** The methods of the two services; every other method is `unimplemented`. */
export interface Upstreams {
  users?: Partial<ServiceImpl<typeof UserService>>
  sessions?: Partial<ServiceImpl<typeof SessionService>>
}

/** Rate limits are off unless `options` turns them on. */
interface Setup extends Upstreams {
  options?: Partial<Options>
  /** The budget of every route. */
  budgetMs?: number
  parts?: Partial<GatewayParts>
}

const routes = ({ users = {}, sessions = {} }: Upstreams) => {
  return (router: ConnectRouter) => {
    router.service(UserService, users)
    router.service(SessionService, validateEach(sessions))
  }
}

/** Limits of a test; those that it does not set are wide. */
export const limitsOf = (limits: Partial<Options['rateLimit']>): Options['rateLimit'] => {
  const wide = { max: 1000, credentialsMax: 1000, registrationsMax: 1000, emailsMax: 1000, sessionMax: 0 }
  return { enabled: true, window: 60_000, ...wide, ...limits }
}

/** The login of a client that guesses. */
export function wrongPassword(): never {
  throw new ConnectError('The address or the password is wrong.', Code.Unauthenticated)
}

/** Services whose methods all succeed, for one account. */
export function workingServices({ session, token, userId }: NewSession = newSession()): Required<Upstreams> {
  const user = { id: userId, email: 'ada@example.org', emailVerified: true, createdAt: timestampFromMs(Date.now()) }
  const login = ({ email }: { email: string }) => ({ token, session, user: { ...user, email } })
  const done = () => ({})
  return {
    users: {
      registerAndLogin: login,
      authenticateAndLogin: login,
      logout: done,
      deleteAccount: done,
      getAccount: () => ({ user }),
      changePassword: () => ({ token, session }),
      requestPasswordReset: done,
      resetPassword: done,
      changeEmail: done,
      requestEmailVerification: done,
      verifyEmail: done,
      endOtherSessions: done
    },
    sessions: {
      validateSession: () => ({ result: { case: 'session', value: session } }),
      listSessions: () => ({ sessions: [{ ...session, userAgent: 'curl/8', current: true }] }),
      deleteSession: done
    }
  }
}

/** Builds a gateway; it closes when the test ends. */
export async function buildGateway(t: Ending, { options, budgetMs, parts, ...upstreams }: Setup = {}) {
  const lines: string[] = []
  const registry = new Registry()
  const upstream = createRouterTransport(routes(upstreams))
  const own = parts?.redis ? undefined : connectRedis(engineAddress('TEST_REDIS_URL'), silentLog, rateLimitScripts)
  const defaults = loadConfig({ gateway }, { CONFIG_FILE: '/dev/null' }).gateway
  const app = await buildApp(
    {
      userSvc: upstream,
      sessionSvc: upstream,
      registry,
      log: createLogger('gateway', 'info', { write: (line: string) => void lines.push(line) }),
      ...(own && { redis: own }),
      ...parts
    } as GatewayParts,
    {
      ...defaults,
      rateLimit: { ...defaults.rateLimit, enabled: false },
      budgets: { ...defaults.budgets, ...(budgetMs && everyKey(defaults.budgets, budgetMs)) },
      ...options
    }
  )
  // A gateway counts rate limits locally until Redis is connected.
  if (own && !own.isReady) await once(own, 'ready')
  t.teardown(async () => {
    await app.close()
    own?.destroy()
  })
  return { app, registry, lines }
}

const everyKey = (object: object, value: number) => Object.fromEntries(Object.keys(object).map((key) => [key, value]))

/** Serves the two services on a real port over HTTP/2. */
export async function serveUpstreams(t: Ending, upstreams: Upstreams, token = testRpc.token, atPort = 0) {
  const server = buildRpcServer({
    log: silentLog,
    registry: new Registry(),
    readiness: alwaysReady,
    rpc: testRpc,
    services: [UserService, SessionService],
    files: [file_user_v1_user, file_session_v1_session],
    routes: routes(upstreams)
  })
  await server.listen({ host: '127.0.0.1', port: atPort })
  t.teardown(() => server.close())
  const { port } = server.server.address() as { port: number }
  const transport = transportTo(port, token)
  return { server, port, parts: { userSvc: transport, sessionSvc: transport } }
}

/** The gateway's own transport to a port. */
export function transportTo(port: number, token = testRpc.token): Transport {
  return createRpcTransport(
    { name: 'upstream', urls: [`http://127.0.0.1:${port}`], rpc: { ...testRpc, token } },
    rpcClientMetrics(new Registry())
  )
}

/** Listens on a free port. */
export async function listen(app: Awaited<ReturnType<typeof buildGateway>>['app']): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as { port: number }).port
}

type NewSession = ReturnType<typeof newSession>

/** A user, a session and its token. */
export function newSession(ageMs = 1000) {
  const userId = uuidv7()
  const { token, hash } = createToken(userId)
  const now = Date.now()
  const session = create(SessionSchema, {
    id: sessionId(hash),
    userId,
    createdAt: timestampFromMs(now - ageMs),
    lastSeenAt: timestampFromMs(now),
    expiresAt: timestampFromMs(now + 3_600_000)
  })
  return { userId, token, session, headers: { authorization: `Bearer ${token}` } }
}

/** The reply of user-svc to a registration or a login. */
export function loginAnswer(email = 'ada@example.org') {
  const { token, session, userId } = newSession(0)
  const user = { id: userId, email, emailVerified: false, createdAt: timestampFromMs(Date.now()) }
  return { token, session, user }
}

export const credentials = { email: 'ada@example.org', password: 'correct horse battery' }

/** A client address of this test alone: all test files share one Redis. */
export const newAddress = () => `10.${randomInt(256)}.${randomInt(256)}.${randomInt(1, 255)}`

type Answer = Pick<LightMyRequestResponse, 'statusCode' | 'headers' | 'body'>

/** Asserts the headers of every response, and that an error is a complete problem. @returns the body */
export function requireForm(t: Test, answer: Answer, status: number, what = '') {
  t.equal(answer.statusCode, status, `${what} status`)
  const traceId = String(answer.headers['x-request-id'])
  t.match(traceId, /^[0-9a-f]{32}$/, `${what} X-Request-Id`)
  t.match(answer.headers.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-[0-9a-f]{2}$`), `${what} traceparent`)
  t.match(answer.headers, { 'cache-control': 'no-store', ...browserHeaders }, `${what} headers`)
  if (status < 400) return answer.body === '' ? undefined : JSON.parse(answer.body)
  t.match(answer.headers['content-type'], /^application\/problem\+json/, `${what} Content-Type`)
  const problem = JSON.parse(answer.body || '{}')
  t.match(problem, { type: /^urn:problem-type:[a-z-]+$/, title: /./, status, detail: /./, traceId }, `${what} problem`)
  return problem
}
