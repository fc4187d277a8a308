/** The credentials of RPC callers under `make run`: each configured, or generated and stored in the data directory. */

import { join } from 'node:path'
import { parseCaller } from '#common/rpc/callers.ts'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { UserService } from '#gen/user/v1/user_pb.ts'
import type { Config } from './config.ts'
import { keepSecret, keptSecret, keptToken } from './secret-file.ts'

export interface RpcCredentials {
  /** Permits all calls of the services; no service presents it. */
  rpcToken: string
  adminToken: string
  /** The credentials that the services present. */
  own: Record<'gateway' | 'userSvc', string>
  /** The entries of `rpc.callers`. */
  callers: string[]
}

/** Stores the tokens in `dataDir`, where applications and operators read theirs. */
export function rpcCredentials({ rpc }: Pick<Config, 'rpc'>, dataDir: string): RpcCredentials {
  const file = (name: string) => join(dataDir, name)
  const [gateway, userSvc, validation] = ['gateway-token', 'user-svc-token', 'validation-token'].map((name) =>
    keptSecret(file(name))
  ) as [string, string, string]
  return {
    rpcToken: configuredOrKept(rpc.token, file('rpc-token')),
    adminToken: configuredOrKept(rpc.adminToken, file('admin-token')),
    own: { gateway: rpc.ownToken || gateway, userSvc: rpc.ownToken || userSvc },
    callers: [
      ...rpc.callers.filter((entry) => entry !== ''),
      `gateway:${gateway}`,
      `user-svc:${userSvc}`,
      `application:${validation}:validation`
    ]
  }
}

/** Either way the file has the secret. */
function configuredOrKept(configured: string, path: string): string {
  if (configured === '') return keptToken(path)
  keepSecret(path, configured)
  return configured
}

const served = { userSvc: [UserService, AdminService], sessionSvc: [SessionService] }

/** The variables of a service that calls others. */
export function presentedVariables(service: keyof RpcCredentials['own'], { own }: RpcCredentials): NodeJS.ProcessEnv {
  return { RPC_OWN_TOKEN: own[service] }
}

/** The variables of a service that others call: the credentials of callers that may call it, and no others. */
export function acceptedVariables(
  service: keyof typeof served,
  { rpcToken, adminToken, callers }: RpcCredentials
): NodeJS.ProcessEnv {
  const methods = served[service].flatMap((each) => each.methods)
  const permitted = callers.filter((entry) => methods.some(parseCaller(entry).permits))
  return {
    RPC_TOKEN: rpcToken,
    RPC_CALLERS: permitted.join(','),
    ...(service === 'userSvc' && { RPC_ADMIN_TOKEN: adminToken })
  }
}
