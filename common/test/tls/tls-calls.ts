/** A session service by TLS, clients of it, and the outcomes of their calls. */

import { Code, ConnectError, createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import type { ServerTls } from '#common/tls/termination.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

export async function serve(
  t: Pick<Test, 'teardown'>,
  tls: ServerTls,
  atPort = 0,
  answer = async (_token: string) => {}
) {
  const app = buildSessionServer(
    {
      validateSession: async ({ token }) => {
        await answer(token)
        return { result: { case: 'invalid', value: {} } }
      }
    },
    { log: silentLog, registry: new Registry(), readiness: alwaysReady, rpc: { ...testRpc, tls } }
  )
  await app.listen({ host: '127.0.0.1', port: atPort })
  t.teardown(() => app.close())
  return { app, port: (app.server.address() as { port: number }).port }
}

export function clientOf(urls: string[], tls: ServerTls) {
  const upstream = { name: 'session-svc', urls, rpc: { ...testRpc, tls } }
  return createClient(SessionService, createRpcTransport(upstream, rpcClientMetrics(new Registry())))
}

/** The outcome of a call whose client certificate is not accepted. */
export const rejected = /^(closed|Unavailable|ERR_SSL_\w+_ALERT_CERTIFICATE_REQUIRED)$/

/** `ok`, or how a call failed. */
export const outcome = (calls: ReturnType<typeof clientOf>) =>
  calls.validateSession({ token: 'x' }, { timeoutMs: 3000 }).then(() => 'ok', failureOf)

/** A closed connection during a call has the code of a timeout. */
function failureOf(error: unknown): string {
  const { code, rawMessage, cause } = ConnectError.from(error)
  if (rawMessage === 'The connection failed during the call.') return 'closed'
  const { code: reason } = (cause ?? {}) as { code?: unknown }
  return typeof reason === 'string' && reason.startsWith('ERR_SSL_') ? reason : Code[code]
}
