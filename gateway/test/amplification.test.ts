/** An outage is not amplified: the failing upstream counts its calls for each request of the gateway. */

import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { buildGateway, newSession, serveUpstreams, workingServices } from './gateway.ts'

const perSecond = 100
const forMs = 4000
const timeoutMs = 30_000

/** Failing upstreams, which report each call, or each connection if they accept no calls. */
const failing: Record<string, (received: () => void) => Server> = {
  'refuses connections': (received) =>
    createServer((socket) => {
      received()
      socket.resetAndDestroy()
    }),
  'resets calls': (received) =>
    createHttp2Server().on('stream', (stream) => {
      received()
      stream.on('error', () => {})
      ;(stream.session as ServerHttp2Session).destroy()
    }),
  'is unresponsive': (received) =>
    createHttp2Server().on('stream', (stream) => {
      received()
      stream.on('error', () => {})
    })
}

async function listenOn(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

for (const [what, create] of Object.entries(failing)) {
  t.test(`sends at most 1.1 calls for each request to an upstream that ${what}`, async (t: Test) => {
    let received = 0
    const sockets = new Set<Socket>()
    const upstream = create(() => {
      received += 1
    })
    upstream.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})))
    async function stop(): Promise<void> {
      const closed = new Promise((resolve) => upstream.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    }
    const port = await listenOn(upstream)
    const registry = new Registry()
    const options = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: testRpc }
    const sessionSvc = createRpcTransport(options, rpcClientMetrics(registry))
    const { app } = await buildGateway(t, { parts: { sessionSvc } })
    const user = newSession()
    const { headers } = user
    const state = async () =>
      Number(/rpc_client_breaker_state\{upstream="session-svc"\} (\S+)/.exec(await registry.metrics())?.[1])
    const validate = async () => (await app.inject({ url: '/session', headers })).statusCode

    const states = new Set<number>()
    const answers: Promise<number>[] = []
    // The health checks of the other upstreams fail too fast to be seen half-open.
    const expected = what === 'is unresponsive' ? [0.5, 1] : [1]
    const startedAt = performance.now()
    const isDue = (ms: number) => performance.now() - startedAt > ms
    while (!isDue(forMs) || (!expected.every((each) => states.has(each)) && !isDue(timeoutMs))) {
      answers.push(validate())
      states.add(await state())
      await sleep(1000 / perSecond)
    }
    t.same(new Set(await Promise.all(answers)), new Set([503]))
    const perRequest = received / answers.length
    t.ok(perRequest <= 1.1, `${received} calls for ${answers.length} requests: ${perRequest.toFixed(2)} each`)
    t.ok(
      expected.every((each) => states.has(each)),
      `states of the circuit breaker: ${[...states]}`
    )

    await stop()
    await serveUpstreams(t, workingServices(user), testRpc.token, port)
    const recoveryMs = await until('the upstream is used again', async () => (await validate()) === 200)
    t.comment(`recovery after ${Math.round(recoveryMs)} ms`)
    t.equal(await state(), 0, 'closed')
  })
}
