/** Builds the app of session-svc from its parts; it does not listen and reads no environment. */

import type { DescMethod } from '@bufbuild/protobuf'
import type { Registry } from '@prometheus-io/client'
import type { Logger } from '#common/logging/logger.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { buildRpcServer, type RpcServerOptions } from '#common/rpc/server/server.ts'
import { file_session_v1_session, SessionService } from '#gen/session/v1/session_pb.ts'
import { serveSessions } from './connect.ts'
import { sessionMetrics } from './metrics.ts'
import { readDependency, writeDependency } from './redis-probes.ts'
import type { SessionRedis } from './scripts.ts'
import type { SessionRules } from './session-types.ts'
import { createSessions } from './sessions.ts'

const read = [readDependency]
const write = [readDependency, writeDependency]
const needsOf: Record<keyof typeof SessionService.method, string[]> = {
  createSession: write,
  validateSession: read,
  validateSessions: read,
  deleteSession: write,
  deleteUserSessions: write,
  listSessions: read
}

interface SessionAppParts {
  redis: SessionRedis
  readiness: Readiness
  registry: Registry
  log: Logger
}

export function buildApp(parts: SessionAppParts, options: { session: SessionRules; rpc: RpcServerOptions['rpc'] }) {
  const sessions = createSessions(parts.redis, options.session, parts.log)
  const metrics = sessionMetrics(parts.registry)
  return buildRpcServer({
    ...parts,
    rpc: options.rpc,
    services: [SessionService],
    needs: ({ localName }: DescMethod) => needsOf[localName as keyof typeof needsOf] ?? read,
    files: [file_session_v1_session],
    routes: (router) => serveSessions(router, { sessions, metrics, log: parts.log })
  })
}
