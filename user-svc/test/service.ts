/** A user-svc on a test database, with session-svc as an in-memory Connect router. */

import { randomBytes } from 'node:crypto'
import { Code, createClient, createRouterTransport, type Transport } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import postgres from 'postgres'
import type { Test } from 'tap'
import { errorWithReason } from '#common/errors/connect-errors.ts'
import type { Logger } from '#common/logging/logger.ts'
import { createToken, parseToken, sessionId } from '#common/session/session-token.ts'
import { alwaysReady, createTestDatabase, silentLog, testRpc, testTransport } from '#common/testing/service.ts'
import type { Clock } from '#common/time/clock.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import type { MailParts } from '../accounts/account-parts.ts'
import { buildApp } from '../app.ts'
import { connectDatabase } from '../database.ts'
import { accountMetrics } from '../metrics.ts'
import { migrateDatabase } from '../migrations.ts'
import { createSessionClient } from '../session-client.ts'

/** The state of the in-memory session-svc. */
interface SessionsDouble {
  serving: boolean
  /** The number of health checks. */
  checks: number
  /** User ids by the hash of their token. */
  live: Map<string, string>
  /** Epochs and user agents by the hash of their token. */
  created: Map<string, { epoch: bigint; userAgent: string | undefined }>
  lowestEpochs: Map<string, bigint>
  /** Thrown by the next calls, if set. */
  failure: Error | undefined
  /** Thrown by a revocation of the user, if any. */
  failureOf: (userId: string) => Error | undefined
  /** Runs before a session is created. */
  beforeCreate: (userId: string) => Promise<void> | void
}

/** A session-svc that serves and has no sessions. */
export function sessionsDouble(): SessionsDouble {
  return {
    serving: true,
    checks: 0,
    live: new Map(),
    created: new Map(),
    lowestEpochs: new Map(),
    failure: undefined,
    failureOf: () => undefined,
    beforeCreate() {}
  }
}

/** The transport to an in-memory session-svc. */
export function sessionTransport(double: SessionsDouble) {
  const fail = () => {
    if (double.failure) throw double.failure
  }
  return createRouterTransport((router) => {
    router.service(Health, {
      check() {
        double.checks += 1
        return { status: double.serving ? Status.SERVING : Status.NOT_SERVING }
      }
    })
    router.service(SessionService, {
      async createSession({ userId, epoch, userAgent }) {
        fail()
        await double.beforeCreate(userId)
        const lowestEpoch = double.lowestEpochs.get(userId) ?? 0n
        if (epoch < lowestEpoch) {
          const metadata = { lowestEpoch: String(lowestEpoch) }
          const reason = { domain: 'session.v1', reason: 'SESSION_EPOCH_RAISED', metadata }
          throw errorWithReason(Code.FailedPrecondition, 'raised', reason)
        }
        const { token, hash } = createToken(userId)
        double.live.set(hash, userId)
        double.created.set(hash, { epoch, userAgent })
        return { token, session: { id: sessionId(hash), userId } }
      },
      deleteSession({ target }) {
        fail()
        if (target.case === 'token') double.live.delete(parseToken(target.value)?.hash ?? '')
        return {}
      },
      deleteUserSessions({ userId, epoch, all, keptSessionId }) {
        fail()
        const failure = double.failureOf(userId)
        if (failure) throw failure
        const lowestEpoch = double.lowestEpochs.get(userId) ?? 0n
        if (epoch > lowestEpoch) double.lowestEpochs.set(userId, epoch)
        const isOld = (hash: string) => (double.created.get(hash)?.epoch ?? 0n) < epoch
        const ended = [...double.live].filter(([hash, owner]) => owner === userId && (all || isOld(hash)))
        const others = ended.filter(([hash]) => sessionId(hash) !== keptSessionId)
        for (const [hash] of others) double.live.delete(hash)
        return { epoch: double.lowestEpochs.get(userId) ?? 0n, endedSessions: others.length }
      }
    })
  })
}

interface TestOptions {
  requireVerifiedEmail?: boolean
  /** Also requires verified addresses. */
  concealTaken?: boolean
  bruteForce?: boolean
  /** In place of the cheapest hashes, one per core. */
  hashing?: { cost: number; hashesAtATime: number }
  deviceKeys?: string[]
  /** The database of another instance. */
  url?: string
  /** `undefined`: the service sends no email. */
  mail?: MailParts | undefined
  /** To another session-svc than the one in memory. */
  transport?: Transport
  /** Of the age of health checks of session-svc. */
  sessionClock?: Clock | undefined
  log?: Logger
}

/** A key of `mail.keys`. */
export const mailKey = (name: string) => `${name}:${randomBytes(32).toString('base64')}`

const password = {
  cost: 4,
  maxCost: 14,
  hashesAtATime: 0,
  minLength: 8,
  peppers: [],
  serviceWords: [],
  breachList: { directory: '', whenMissing: 'refuse' as const }
}

/** Starts user-svc with the cheapest bcrypt cost; it ends with the test. */
export async function startUserSvc(t: Pick<Test, 'teardown'>, options: TestOptions = {}) {
  const { concealTaken = false, requireVerifiedEmail = concealTaken } = options
  const { bruteForce = true, transport, log = silentLog } = options
  const mail = 'mail' in options ? options.mail : { keys: [mailKey('test')] }
  const url = options.url ?? (await createTestDatabase(t))
  await migrateDatabase({ url })
  const database = connectDatabase({ url, maxConnections: 5, queryTimeout: 3000 })
  // As in production, so that concurrent calls run at the same time.
  await database.warmUp()
  const sessions = sessionsDouble()
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const registry = new Registry()
  const app = buildApp(
    {
      db: database.db,
      sessionClient: createSessionClient(transport ?? sessionTransport(sessions), options.sessionClock),
      metrics: accountMetrics(registry),
      readiness: alwaysReady,
      registry,
      log
    },
    {
      password: { ...password, ...options.hashing },
      bruteForce: { enabled: bruteForce, deviceKeys: options.deviceKeys ?? [] },
      requireVerifiedEmail,
      registration: { concealTaken },
      mail,
      rpc: testRpc
    }
  )
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  t.teardown(async () => {
    await Promise.all([app.close(), sql.end()])
    await database.close()
  })

  /** The number of bcrypt computations. */
  async function hashes(): Promise<number> {
    const text = await registry.getSingleMetricAsString('auth_password_hash_seconds')
    return Number(/_count (\d+)/.exec(text)?.[1] ?? 0)
  }

  return {
    client: createClient(UserService, testTransport(port)),
    admin: createClient(AdminService, testTransport(port, testRpc.adminToken)),
    port,
    url,
    sql,
    sessions,
    hashes,
    registry,
    mail,
    db: database.db
  }
}
