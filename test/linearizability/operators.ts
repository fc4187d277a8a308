/** Ends all sessions of an account as operators do: by an RPC of user-svc. */

import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { AdminService } from '#gen/admin/v1/admin_pb.ts'

const timeoutMs = 5000

/** @returns a call that resolves to 200; to 404 if there is no such account; to 0 if the outcome is unknown */
export function createOperator(baseUrl: string, adminToken: string) {
  const transport = createConnectTransport({
    baseUrl,
    httpVersion: '2',
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${adminToken}`)
        return next(request)
      }
    ]
  })
  const client = createClient(AdminService, transport)
  return async function endSessions(userId: string): Promise<number> {
    try {
      await client.endSessions({ userId }, { timeoutMs })
      return 200
    } catch (error) {
      return ConnectError.from(error).code === Code.NotFound ? 404 : 0
    }
  }
}
