/** An RPC server of the session service with handlers of a test; it does not listen yet. */

import type { ServiceImpl } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import { buildRpcServer, type RpcServerOptions } from '#common/rpc/server/server.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import { file_session_v1_session, SessionService } from '#gen/session/v1/session_pb.ts'

export function buildSessionServer(
  handlers: Partial<ServiceImpl<typeof SessionService>>,
  options: Partial<Pick<RpcServerOptions, 'log' | 'registry' | 'readiness' | 'rpc'>> = {}
) {
  return buildRpcServer({
    log: silentLog,
    registry: new Registry(),
    readiness: alwaysReady,
    rpc: testRpc,
    ...options,
    services: [SessionService],
    files: [file_session_v1_session],
    routes: (router) => router.service(SessionService, handlers)
  })
}
