/** An outage is not amplified: what reaches a failing upstream, counted there, for each request that reaches the gateway. */

import { createServer as createHttp2Server, type ServerHttp2Session } from 'node:http2'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { testRpc } from '#common/testing/service.ts'
import { buildGateway, newSession, serveUpstreams } from './gateway.ts'

const perSecond = 100
const forMs = 4000

/** Each counts what reaches it: a connection where there are no calls, calls otherwise. */
const failing: Record<string, (reached: () => void) => Server> = {
  'refuses connections': (reached) =>
    createServer((socket) => {
      reached()
      socket.resetAndDestroy()
    }),
  'resets in mid-call': (reached) =>
    createHttp2Server().on('stream', (stream) => {
      reached()
      stream.on('error', () => {})
      ;(stream.session as ServerHttp2Session).destroy()
    }),
  'is mute': (reached) =>
    createHttp2Server().on('stream', (stream) => {
      reached()
      stream.on('error', () => {})
    })
}

async function listenOn(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

for (const [what, create] of Object.entries(failing)) {
  t.test(`an upstream that ${what}`, async (t: Test) => {
    let reached = 0
    const sockets = new Set<Socket>()
    const upstream = create(() => {
      reached += 1
    })
    upstream.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})))
    async function end(): Promise<void> {
      const closed = new Promise((resolve) => upstream.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    }
    const port = await listenOn(upstream)
    const registry = new Registry()
    const options = { name: 'session-svc', urls: [`http://127.0.0.1:${port}`], rpc: testRpc }
    const sessionSvc = createRpcTransport(options, rpcClientMetrics(registry))
    const { app } = await buildGateway(t, { parts: { sessionSvc } })
    const { headers, session } = newSession()
    const state = async () =>
      Number(/rpc_client_breaker_state\{upstream="session-svc"\} (\S+)/.exec(await registry.metrics())?.[1])
    const validate = async () => (await app.inject({ url: '/session', headers })).statusCode

    const states = new Set<number>()
    const answers: Promise<number>[] = []
    const endsAt = performance.now() + forMs
    while (performance.now() < endsAt) {
      answers.push(validate())
      states.add(await state())
      await sleep(1000 / perSecond)
    }
    t.same(new Set(await Promise.all(answers)), new Set([503]))
    const perRequest = reached / answers.length
    t.ok(perRequest <= 1.1, `${reached} calls for ${answers.length} requests: ${perRequest.toFixed(2)} each`)
    t.ok(states.has(1), `the breaker was seen at ${[...states]}`)
    // Elsewhere a probe fails too soon to be seen.
    if (what === 'is mute') t.ok(states.has(0.5), 'and half-open')

    await end()
    const validateSession = () => ({ result: { case: 'session' as const, value: session } })
    await serveUpstreams(t, { sessions: { validateSession } }, testRpc.token, port)
    const backAt = performance.now()
    while ((await validate()) !== 200) await sleep(20)
    t.comment(`${Math.round(performance.now() - backAt)} ms after its return all is well`)
    t.equal(await state(), 0)
  })
}
