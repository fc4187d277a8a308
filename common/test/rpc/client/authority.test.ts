/** RPCs over an IPv6 address, and with an authority that is not valid in a URL. */

import { connect } from 'node:http2'
import { text } from 'node:stream/consumers'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testRpc } from '#common/testing/service.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'

async function serve(t: Test, host: string): Promise<number> {
  const app = buildSessionServer({})
  await app.listen({ host, port: 0 })
  t.teardown(() => app.close())
  return (app.server.address() as { port: number }).port
}

fieldCase(t, 2, 'calls to the IPv6 address of an RPC port are answered', async (t) => {
  const baseUrl = `http://[::1]:${await serve(t, '::1')}`
  const upstream = { name: 'session-svc', urls: [baseUrl], rpc: testRpc }
  const transports = {
    ours: createRpcTransport(upstream, rpcClientMetrics(new Registry())),
    // Without the header that ours sends.
    strangers: createConnectTransport({ baseUrl, httpVersion: '2' })
  }
  for (const [whose, transport] of Object.entries(transports)) {
    const { status } = await createClient(Health, transport).check({}, { timeoutMs: 5000 })
    t.equal(status, Status.SERVING, whose)
  }
})

t.test('serves calls whose authority is not valid in a URL', async (t) => {
  const session = connect(`http://127.0.0.1:${await serve(t, '127.0.0.1')}`)
  t.teardown(() => session.close())
  for (const authority of ['::1:50052', 'a:99999', '::']) {
    const headers = { ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', ':authority': authority }
    const stream = session.request({ ...headers, 'content-type': 'application/json' })
    stream.setTimeout(5000, () => stream.close())
    stream.end('{}')
    t.equal(await text(stream), '{"status":"SERVING"}', authority)
  }
})
