/** A session-svc on the real Redis, and a gRPC client of it, for one test file. */

import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { connectRedis } from '#common/redis.ts'
import { alwaysReady, engineAddress, silentLog, testRpc, testTransport } from '#common/testing.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildApp } from '../app.ts'
import { type SessionRules, sessionScripts } from '../sessions.ts'

export const rules: SessionRules = { idleTimeout: 60_000, lifetime: 3_600_000, maxPerUser: 100 }

/** Starts the service; it ends with the test. Every caller takes user ids of its own, so that files share one Redis. */
export async function startSessionSvc(
  t: Pick<Test, 'teardown'>,
  overrides: Partial<SessionRules> = {},
  log = silentLog
) {
  const redis = connectRedis(engineAddress('TEST_REDIS_URL'), silentLog, sessionScripts)
  await new Promise((resolve) => redis.once('ready', resolve))
  const app = buildApp(
    { redis, readiness: alwaysReady, registry: new Registry(), log },
    { session: { ...rules, ...overrides }, rpc: testRpc }
  )
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  t.teardown(async () => {
    await app.close()
    redis.destroy()
  })
  return { redis, port, client: createClient(SessionService, testTransport(port)) }
}

/** A user that nobody else has. */
export const newUser = () => uuidv7()
