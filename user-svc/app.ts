/** Builds user-svc from its parts; knows no port and no environment. */

import { availableParallelism } from 'node:os'
import type { Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { buildRpcServer, type RpcServerOptions } from '#common/rpc/server/server.ts'
import { AdminService, file_admin_v1_admin } from '#gen/admin/v1/admin_pb.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'
import type { AccountParts, MailParts } from './accounts/account-parts.ts'
import { adminRoutes } from './admin/connect.ts'
import { DeviceTokens } from './brute-force/device-tokens.ts'
import { createGuessGate, openGate } from './brute-force/guess-gate.ts'
import { createGuessRows } from './brute-force/guess-rows.ts'
import { NetworkHistory } from './brute-force/network-history.ts'
import { userRoutes } from './connect.ts'
import type { Database } from './database.ts'
import type { AccountMetrics } from './metrics.ts'
import { type BreachListOptions, openBreachList } from './passwords/breach-list.ts'
import { HashQueue, type HashQueueObserver } from './passwords/hash-queue.ts'
import { type HashRules, PasswordHashes, usualHashMs } from './passwords/password-hashes.ts'
import { createPasswordRules, type PasswordRuleOptions } from './passwords/password-rules.ts'
import type { StoredCosts } from './passwords/stored-costs.ts'
import type { SessionClient } from './session-client.ts'

interface UserAppParts {
  db: Database
  sessionClient: SessionClient
  metrics: AccountMetrics
  readiness: Readiness
  registry: Registry
  log: Logger
  storedCosts?: Pick<StoredCosts, 'highest'>
}

/** The section `userSvc.password`. */
type PasswordOptions = HashRules &
  Omit<PasswordRuleOptions, 'breachList'> & { hashesAtATime: number; breachList: BreachListOptions }

/** The section `userSvc.bruteForce`. */
interface BruteForceOptions {
  enabled: boolean
  deviceKeys: string[]
}

interface UserAppOptions {
  password: PasswordOptions
  bruteForce: BruteForceOptions
  requireVerifiedEmail: boolean
  registration: { concealTaken: boolean }
  mail: MailParts | undefined
  rpc: RpcServerOptions['rpc']
}

/** The number of hashes at a time: as configured, or one per core. */
export function hashesAtATime(configured: PasswordOptions): number {
  return configured.hashesAtATime || availableParallelism()
}

export function buildApp(parts: UserAppParts, options: UserAppOptions) {
  const { password, bruteForce, requireVerifiedEmail, registration, mail, rpc } = options
  const { db, sessionClient, metrics, readiness, log } = parts
  const networks = new NetworkHistory()
  const hashQueue: HashQueueObserver = {
    ...metrics.hashQueue,
    onShed(reason, flow) {
      metrics.hashQueue.onShed(reason, flow)
      networks.recordShed(flow)
    }
  }
  const accountParts: AccountParts = {
    db,
    sessionClient,
    passwords: new PasswordHashes(
      password,
      (seconds) => metrics.hashSeconds.observe(seconds),
      parts.storedCosts?.highest
    ),
    hashQueue: new HashQueue(hashesAtATime(password), usualHashMs(password.cost), hashQueue),
    devices: new DeviceTokens(bruteForce.deviceKeys),
    networks,
    guesses: bruteForce.enabled ? createGuessGate(createGuessRows(db), metrics.guesses) : openGate,
    passwordRules: createPasswordRules({ ...password, breachList: openBreachList(password.breachList, log) }),
    requireVerifiedEmail,
    concealTaken: registration.concealTaken,
    mail
  }
  const importParts = { maxIdleMs: rpc.maxTimeout, isDraining: () => readiness.draining() }
  return buildRpcServer({
    ...parts,
    rpc,
    services: [UserService, AdminService],
    needs: (method) => (method === UserService.method.logout ? [] : ['postgres']),
    files: [file_user_v1_user, file_admin_v1_admin],
    routes(router) {
      userRoutes(router, accountParts, metrics, log)
      adminRoutes(router, { ...accountParts, ...importParts }, metrics, log)
    }
  })
}
