/** Builds user-svc from its parts; knows no port and no environment. */

import { availableParallelism } from 'node:os'
import type { Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { buildRpcServer, type RpcServerOptions } from '#common/rpc/server/server.ts'
import { file_user_v1_user, UserService } from '#gen/user/v1/user_pb.ts'
import { createAccounts } from './accounts.ts'
import { userRoutes } from './connect.ts'
import type { Database } from './database.ts'
import { createHashQueue } from './hash-queue.ts'
import type { AccountMetrics } from './metrics.ts'
import { createPasswords, type PasswordRules, usualHashMs } from './passwords.ts'
import type { SessionClient } from './session-client.ts'

export interface UserAppParts {
  db: Database
  sessionClient: SessionClient
  metrics: AccountMetrics
  readiness: Readiness
  registry: Registry
  log: Logger
}

type PasswordOptions = PasswordRules & { hashesAtATime: number }

/** How many hashes there may be at a time: as configured, or one a core. */
export function hashesAtATime(configured: PasswordOptions): number {
  return configured.hashesAtATime || availableParallelism()
}

export function buildApp(parts: UserAppParts, options: { password: PasswordOptions; rpc: RpcServerOptions['rpc'] }) {
  const { metrics } = parts
  const passwords = createPasswords(options.password, (seconds) => metrics.hashSeconds.observe(seconds))
  const hashQueue = createHashQueue(
    hashesAtATime(options.password),
    usualHashMs(options.password.cost),
    metrics.hashQueue
  )
  const accounts = createAccounts({ ...parts, passwords, hashQueue, minPasswordLength: options.password.minLength })
  return buildRpcServer({
    ...parts,
    rpc: options.rpc,
    services: [UserService],
    needs: (method) => (method === UserService.method.logout ? [] : ['postgres']),
    files: [file_user_v1_user],
    routes: (router) => userRoutes(router, accounts, metrics, parts.log)
  })
}
