/** A session-svc on the real Redis, and a gRPC client of it, for one test file. */

import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import type { Readiness } from '#common/ops/readiness.ts'
import type { RedisConfig, RedisStore } from '#common/redis/routing.ts'
import { alwaysReady, engineAddress, silentLog, testRpc, testTransport } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildApp } from '../app.ts'
import type { sessionScripts } from '../scripts.ts'
import { openSessionStore } from '../session-store.ts'
import type { SessionRules } from '../session-types.ts'

export const rules: SessionRules = { idleTimeout: 60_000, lifetime: 3_600_000, maxPerUser: 100 }

/** The Redis under test: the one that the test runner started, or the cluster that a test file did. */
export function redisUnderTest(): RedisConfig & { minReplicas: number } {
  const nodes = process.env.TEST_REDIS_CLUSTER?.split(',') ?? []
  const url = engineAddress('TEST_REDIS_URL')
  const common = { sentinelName: '', sentinelPassword: '', minReplicas: 0 }
  return nodes.length > 0
    ? { ...common, topology: 'cluster', url: '', nodes }
    : { ...common, topology: 'single', url, nodes }
}

/** Starts the service; it ends with the test. Every caller takes user ids of its own, so that files share one Redis. */
export async function startSessionSvc(
  t: Pick<Test, 'teardown'>,
  overrides: Partial<SessionRules> = {},
  log = silentLog,
  redis = redisUnderTest(),
  readiness: Readiness = alwaysReady
) {
  const store = openSessionStore(redis, { log: silentLog })
  for (const { servers } of [store, store.writes]) {
    while (servers().length === 0 || !servers().every(({ isReady }) => isReady)) await sleep(10)
  }
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

/** What a test looks at behind the back of the service, wherever it is. */
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

/** A user that nobody else has. */
export const newUser = () => uuidv7()
