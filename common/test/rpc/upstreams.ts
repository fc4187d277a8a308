/** Instances of session-svc with handlers of a test, and a client that calls them as the services do. */

import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import { createClient, type ServiceImpl } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import type { Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { testRpc } from '#common/testing/service.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildSessionServer } from './session-server.ts'

/** Serves the session service on a port; 0 chooses a free one. */
export async function serve(
  t: Pick<Test, 'teardown'>,
  handlers: Partial<ServiceImpl<typeof SessionService>>,
  port = 0
) {
  const app = buildSessionServer(handlers)
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => sockets.add(socket))
  const sessions = new Set<Http2Session>()
  app.server.on('session', (session: Http2Session) => sessions.add(session))
  await app.listen({ host: '127.0.0.1', port })
  /** Refuses the streams that have not arrived, as after a change of the trusted certificates. */
  function goAway() {
    for (const session of sessions) session.close()
    sessions.clear()
  }
  function cut() {
    for (const socket of sockets) socket.destroy()
  }
  async function kill() {
    cut()
    await app.close()
  }
  t.teardown(kill)
  return { port: (app.server.address() as { port: number }).port, cut, goAway, kill }
}

/** A client as in a service, with its metrics. */
export function caller(...ports: number[]) {
  const registry = new Registry()
  const upstream = { name: 'session-svc', urls: ports.map((port) => `http://127.0.0.1:${port}`), rpc: testRpc }
  const transport = createRpcTransport(upstream, rpcClientMetrics(registry))
  const client = createClient(SessionService, transport)
  async function metric(series: string): Promise<number> {
    const line = (await registry.metrics()).split('\n').find((each) => each.startsWith(`${series} `))
    return Number(line?.split(' ').at(-1) ?? Number.NaN)
  }
  async function attempts(): Promise<number> {
    const lines = (await registry.metrics()).split('\n').filter((line) => line.startsWith('grpc_client_handled_total'))
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  }
  return {
    client,
    probe: probeHealth(transport),
    attempts,
    breaker: () => metric('rpc_client_breaker_state{upstream="session-svc"}'),
    refused: () => metric('rpc_client_breaker_refused_total{upstream="session-svc"}'),
    retries: () => metric('rpc_client_retries_total{upstream="session-svc"}'),
    shed: () => metric('rpc_client_overload_refused_total{upstream="session-svc"}')
  }
}

export const userId = '01a20865-c3ab-7767-969e-45618cbf1309'
