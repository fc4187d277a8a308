/** A gateway before in-memory Connect routers that stand for the two services, on the real Redis, for one test file. */

import { create } from '@bufbuild/protobuf'
import { timestampFromDate } from '@bufbuild/protobuf/wkt'
import { createRouterTransport, type ServiceImpl } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { loadConfig } from '#common/config/load.ts'
import { connectRedis } from '#common/redis/connection.ts'
import { createToken, sessionId } from '#common/session/session-token.ts'
import { engineAddress, silentLog } from '#common/testing/service.ts'
import { type Session, SessionSchema, SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import { buildApp } from '../app.ts'
import { schema } from '../config.ts'
import { rateLimitScripts } from '../plugins/rate-limit-store.ts'
import { manyByOne } from './many-by-one.ts'

export const userId = uuidv7()
export const { token, hash } = createToken(userId)
export const json = { 'content-type': 'application/json' }
export const authorization = { authorization: `Bearer ${token}` }

/** The session that the token stands for. */
export function session(ageMs = 0): Session {
  const at = (ms: number) => timestampFromDate(new Date(Date.now() + ms))
  return create(SessionSchema, {
    id: sessionId(hash),
    userId,
    createdAt: at(-ageMs),
    lastSeenAt: at(0),
    expiresAt: at(3_600_000)
  })
}

const loggedIn = (email: string) => {
  return { user: { id: userId, email, createdAt: timestampFromDate(new Date()) }, session: session(), token }
}

interface Upstreams {
  users?: Partial<ServiceImpl<typeof UserService>>
  sessions?: Partial<ServiceImpl<typeof SessionService>>
  redisUrl?: string
}

/** Builds the gateway; upstream methods that are not given succeed. Rate limits are off unless asked for. */
export async function buildGateway(
  t: Pick<Test, 'teardown'>,
  { users, sessions, redisUrl = engineAddress('TEST_REDIS_URL') }: Upstreams = {},
  env: Record<string, string> = {}
) {
  const { gateway } = loadConfig(schema, { CONFIG_FILE: '', GATEWAY_RATE_LIMIT_ENABLED: 'false', ...env })
  const userSvc = createRouterTransport((router) => {
    router.service(UserService, {
      registerAndLogin: ({ email }) => loggedIn(email),
      authenticateAndLogin: ({ email }) => loggedIn(email),
      logout: () => ({}),
      deleteAccount: () => ({}),
      ...users
    })
  })
  const sessionSvc = createRouterTransport((router) => {
    router.service(
      SessionService,
      manyByOne({ validateSession: () => ({ result: { case: 'session', value: session() } }), ...sessions })
    )
  })
  const redis = connectRedis(redisUrl, silentLog, rateLimitScripts)
  // Until it is connected, requests are counted by the gateway alone.
  if (redisUrl === engineAddress('TEST_REDIS_URL')) await new Promise((resolve) => redis.once('ready', resolve))
  const registry = new Registry()
  const app = await buildApp({ userSvc, sessionSvc, redis, registry, log: silentLog }, gateway)
  t.teardown(async () => {
    await app.close()
    redis.destroy()
  })
  return { app, registry, redis }
}
