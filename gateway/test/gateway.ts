/** A gateway for one test file: user-svc and session-svc as Connect services that the test writes, the rest as it is. */

import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { type ConnectRouter, createRouterTransport, type ServiceImpl, type Transport } from '@connectrpc/connect'
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
import { manyByOne } from './many-by-one.ts'

type Options = Values<typeof gateway>
type Ending = Pick<Test, 'teardown'>

/** What the two services do; a method that is not given is `unimplemented`. */
export interface Upstreams {
  users?: Partial<ServiceImpl<typeof UserService>>
  sessions?: Partial<ServiceImpl<typeof SessionService>>
}

/** What a test may set; rate limits are off unless it turns them on. */
export interface Setup extends Upstreams {
  options?: Partial<Options>
  parts?: Partial<GatewayParts>
}

const routes = ({ users = {}, sessions = {} }: Upstreams) => {
  return (router: ConnectRouter) => {
    router.service(UserService, users)
    router.service(SessionService, manyByOne(sessions))
  }
}

/** Builds a gateway; it ends with the test. */
export async function buildGateway(t: Ending, { options, parts, ...upstreams }: Setup = {}) {
  const lines: string[] = []
  const registry = new Registry()
  const upstream = createRouterTransport(routes(upstreams))
  const own = parts?.redis ? undefined : connectRedis(engineAddress('TEST_REDIS_URL'), silentLog)
  const defaults = loadConfig({ gateway }, {}).gateway
  const app = await buildApp(
    {
      userSvc: upstream,
      sessionSvc: upstream,
      registry,
      log: createLogger('gateway', 'info', { write: (line: string) => void lines.push(line) }),
      ...(own && { redis: own }),
      ...parts
    } as GatewayParts,
    { ...defaults, rateLimit: { ...defaults.rateLimit, enabled: false }, ...options }
  )
  // Until Redis is there, limits are counted by each gateway for itself.
  if (own && !own.isReady) await once(own, 'ready')
  t.teardown(async () => {
    await app.close()
    own?.destroy()
  })
  return { app, registry, lines }
}

/** The same services on a real port over HTTP/2, and the gateway's own way to them. */
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

/** A port that the gateway listens on. */
export async function listen(app: Awaited<ReturnType<typeof buildGateway>>['app']): Promise<number> {
  await app.listen({ host: '127.0.0.1', port: 0 })
  return (app.server.address() as { port: number }).port
}

/** A user with a token and the session that it stands for. */
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

/** What user-svc answers to a registration or a log-in. */
export function loginAnswer(email = 'ada@example.org') {
  const { token, session, userId } = newSession(0)
  return { token, session, user: { id: userId, email, createdAt: timestampFromMs(Date.now()) } }
}

export const credentials = { email: 'ada@example.org', password: 'correct horse battery' }

/** A client address that no other test has, so that files can share one Redis. */
export const newAddress = () => `10.${randomInt(256)}.${randomInt(256)}.${randomInt(1, 255)}`

type Answer = Pick<LightMyRequestResponse, 'statusCode' | 'headers' | 'body'>

/** Asserts what every answer has; of an error, also that it is a whole problem. @returns the body */
export function requireForm(t: Test, answer: Answer, status: number, what = '') {
  t.equal(answer.statusCode, status, `${what} status`)
  const traceId = String(answer.headers['x-request-id'])
  t.match(traceId, /^[0-9a-f]{32}$/, `${what} X-Request-Id`)
  t.match(answer.headers.traceparent, new RegExp(`^00-${traceId}-[0-9a-f]{16}-[0-9a-f]{2}$`), `${what} traceparent`)
  t.equal(answer.headers['cache-control'], 'no-store', `${what} Cache-Control`)
  if (status < 400) return answer.body === '' ? undefined : JSON.parse(answer.body)
  t.match(answer.headers['content-type'], /^application\/problem\+json/, `${what} Content-Type`)
  const problem = JSON.parse(answer.body || '{}')
  t.match(problem, { type: /^urn:problem-type:[a-z-]+$/, title: /./, status, detail: /./, traceId }, `${what} problem`)
  return problem
}
