/** A session-svc on the real Redis, and a gRPC client of it, for one test file. */

import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import type { Readiness } from '#common/ops/readiness.ts'
import type { RedisConfig, RedisStore } from '#common/redis/routing.ts'
import { alwaysReady, engineAddress, silentLog, testRpc, testTransport } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildApp } from '../app.ts'
import type { sessionScripts } from '../scripts.ts'
import { openSessionStore } from '../session-store.ts'
import type { SessionRules } from '../session-types.ts'

export const rules: SessionRules = { idleTimeout: 60_000, lifetime: 3_600_000, maxPerUser: 100 }

/** The Redis under test: the server that the test runner started, or the cluster that a test file started. */
export function redisUnderTest(): RedisConfig & { minReplicas: number } {
  const nodes = process.env.TEST_REDIS_CLUSTER?.split(',') ?? []
  const url = engineAddress('TEST_REDIS_URL')
  const common = { sentinelName: '', sentinelPassword: '', minReplicas: 0 }
  return nodes.length > 0
    ? { ...common, topology: 'cluster', url: '', nodes }
    : { ...common, topology: 'single', url, nodes }
}

/** Starts the service until the test ends. Each test has user ids of its own, so that test files share one Redis. */
export async function startSessionSvc(
  t: Pick<Test, 'teardown'>,
  overrides: Partial<SessionRules> = {},
  log = silentLog,
  redis = redisUnderTest(),
  readiness: Readiness = alwaysReady
) {
  const store = openSessionStore(redis, { log: silentLog })
  await until('all connections to Redis are ready', () => isConnected(store) && isConnected(store.writes))
  const app = buildApp(
    { redis: store.redis, readiness, registry: new Registry(), log },
    { session: { ...rules, ...overrides }, rpc: testRpc }
  )
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  t.teardown(async () => {
    await app.close()
    store.close()
  })
  return { app, redis: inspected(store), store, port, client: createClient(SessionService, testTransport(port)) }
}

/** Whether all servers of a store are known and connected. */
export function isConnected({ servers }: Pick<RedisStore<typeof sessionScripts>, 'servers'>): boolean {
  return servers().length > 0 && servers().every(({ isReady }) => isReady)
}

/** Commands by which a test reads and changes the data of the service, on any topology. */
function inspected({ servers, route }: RedisStore<typeof sessionScripts>) {
  return {
    keys: async (pattern: string) => (await Promise.all(servers().map((server) => server.keys(pattern)))).flat(),
    exists: (key: string) => route(key, (server) => server.exists(key)),
    pTTL: (key: string) => route(key, (server) => server.pTTL(key)),
    hLen: (key: string) => route(key, (server) => server.hLen(key)),
    hGetAll: (key: string) => route(key, (server) => server.hGetAll(key)),
    pExpire: (key: string, ms: number) => route(key, (server) => server.pExpire(key, ms)),
    hSet: (key: string, field: string, value: string) => route(key, (server) => server.hSet(key, field, value)),
    set: (key: string, value: string) => route(key, (server) => server.set(key, value))
  }
}

/** The id of a new user. */
export const newUser = () => uuidv7()
