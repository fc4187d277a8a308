/** Load balancing over several instances, also while some are down. */

import type { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, createClient, type Transport } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import type { Readiness } from '#common/ops/readiness.ts'
import { probeHealth, requireServing } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { buildRpcServer } from '#common/rpc/server/server.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { alwaysReady, silentLog, testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { file_session_v1_session, SessionService } from '#gen/session/v1/session_pb.ts'

/** An instance that counts its calls. */
async function instance(
  t: Pick<Test, 'teardown'>,
  port = 0,
  readiness: Readiness = alwaysReady,
  validate: () => object | Promise<object> = () => ({})
) {
  const calls = { validated: 0, created: 0 }
  const app = buildRpcServer({
    log: silentLog,
    registry: new Registry(),
    readiness,
    rpc: testRpc,
    services: [SessionService],
    files: [file_session_v1_session],
    routes: (router) =>
      router.service(SessionService, {
        validateSessions() {
          calls.validated += 1
          return validate()
        },
        createSession() {
          calls.created += 1
          return {}
        }
      })
  })
  const sockets = new Set<Socket>()
  app.server.on('connection', (socket: Socket) => sockets.add(socket))
  await app.listen({ host: '127.0.0.1', port })
  async function kill() {
    for (const socket of sockets) socket.destroy()
    await app.close()
  }
  t.teardown(kill)
  return { calls, kill, close: () => app.close(), port: (app.server.address() as { port: number }).port }
}

/** A client of instances on these ports. */
function caller(...ports: number[]) {
  const registry = new Registry()
  const urls = ports.map((port) => `http://127.0.0.1:${port}`)
  const transport = createRpcTransport({ name: 'session-svc', urls, rpc: testRpc }, rpcClientMetrics(registry))
  return { transport, client: createClient(SessionService, transport), metrics: () => registry.metrics() }
}

t.test('sends a third of the calls to each of three instances', async (t) => {
  const instances = await Promise.all([instance(t), instance(t), instance(t)])
  const { client, metrics } = caller(...instances.map(({ port }) => port))
  for (let call = 0; call < 300; call += 10) {
    await Promise.all(Array.from({ length: 10 }, () => client.validateSessions({})))
  }
  for (const { calls } of instances) t.equal(calls.validated, 100)
  t.match(await metrics(), /rpc_client_breaker_state\{upstream="session-svc\/3"\} 0/)
  t.match(await metrics(), /rpc_client_retries_total\{upstream="session-svc"\} 0/)
})

t.test('prefers instances with fewer outstanding calls to an unresponsive one', async (t) => {
  const hanging = await instance(t, 0, alwaysReady, () => new Promise(() => {}))
  const well = await instance(t)
  const { client } = caller(hanging.port, well.port)
  const answered = Array.from({ length: 2 }, async () => {
    let count = 0
    const endsAt = performance.now() + 900
    while (performance.now() < endsAt) {
      await client.validateSessions({}, { timeoutMs: 1000 }).then(
        () => (count += 1),
        () => {}
      )
    }
    return count
  })
  const total = (await Promise.all(answered)).reduce((sum, count) => sum + count, 0)
  t.ok(total > 20, `${total} answers by the other`)
  t.equal(hanging.calls.validated, 1, 'while it has an outstanding call, it gets no other')
})

t.test('fails no idempotent call when an instance dies, and balances over it again later', async (t) => {
  const [stays, dies] = await Promise.all([instance(t), instance(t)])
  const { client, metrics } = caller(stays.port, dies.port)
  for (let call = 0; call < 200; call += 1) await client.validateSessions({})
  await dies.kill()
  for (let call = 0; call < 100; call += 1) t.equal(await codeOf(client.validateSessions({})), undefined)
  await until('the breaker of the instance is open', async () => {
    t.equal(await codeOf(client.validateSessions({})), undefined)
    return (await metrics()).includes('rpc_client_breaker_state{upstream="session-svc/2"} 1')
  })
  for (let call = 0; call < 100; call += 1) t.equal(await codeOf(client.createSession({})), undefined, 'it is left out')
  const back = await instance(t, dies.port)
  await until('the instance gets calls again', async () => {
    await client.validateSessions({})
    return back.calls.validated > 0
  })
  const before = { stays: stays.calls.validated, back: back.calls.validated }
  for (let call = 0; call < 100; call += 1) await client.validateSessions({})
  t.equal(stays.calls.validated - before.stays, 50)
  t.equal(back.calls.validated - before.back, 50)
})

t.test('fails no call, whatever its contract declares, when an instance stops', async (t) => {
  const [stays, stops] = await Promise.all([instance(t), instance(t)])
  const { client, metrics } = caller(stays.port, stops.port)
  for (let call = 0; call < 2; call += 1) await client.createSession({})
  await stops.close()
  const calls = Array.from({ length: 20 }, () => codeOf(client.createSession({})))
  t.same(new Set(await Promise.all(calls)), new Set([undefined]))
  t.match(await metrics(), /rpc_client_retries_total\{upstream="session-svc"\} 0/, 'the retry budget is untouched')
})

t.test('calls no instance that is starting, if a health check failed before its start', async (t) => {
  const [stays, restarts] = await Promise.all([instance(t), instance(t)])
  const { client, transport } = caller(stays.port, restarts.port)
  await restarts.kill()
  await t.rejects(requireServing(transport.instances[1] as Transport, '', {}))
  const starting = await instance(t, restarts.port, { ...alwaysReady, ready: () => false })
  // The failed health check itself keeps calls away for a second.
  await sleep(1100)
  for (let call = 0; call < 20; call += 1) await client.createSession({})
  t.equal(starting.calls.created, 0)
})

t.test('fails calls fast when all instances are down', async (t) => {
  const instances = await Promise.all([instance(t), instance(t)])
  const { client, transport, metrics } = caller(...instances.map(({ port }) => port))
  await probeHealth(transport)()
  for (const { kill } of instances) await kill()
  for (let call = 0; call < 40; call += 1) {
    t.match(Code[(await codeOf(client.validateSessions({}))) ?? 0], /Unavailable|DeadlineExceeded/)
    await sleep(20)
  }
  const refused = async () =>
    [...(await metrics()).matchAll(/^rpc_client_breaker_refused_total\{.*\} (\d+)$/gm)].reduce(
      (sum, [, n]) => sum + Number(n),
      0
    )
  const before = await refused()
  for (let call = 0; call < 100; call += 1) t.equal(await codeOf(client.validateSessions({})), Code.Unavailable)
  t.ok((await refused()) >= before + 100, 'none of them was sent')
  await t.rejects(probeHealth(transport)())
})

t.test('is ready if one instance is ready', async (t) => {
  const unready = { ...alwaysReady, ready: () => false }
  const [off, on, alsoOff] = await Promise.all([instance(t, 0, unready), instance(t), instance(t, 0, unready)])
  await probeHealth(caller(off.port, on.port).transport)()
  await probeHealth(caller(1, on.port).transport)()
  await t.rejects(probeHealth(caller(off.port, alsoOff.port).transport)(), { message: 'answers that it is not ready' })
})

t.test('counts a draining instance as ready if there is no other', async (t) => {
  let isBlocked = false
  const stopping = { ...alwaysReady, ready: () => false, draining: () => true, blocked: () => isBlocked }
  const { port } = await instance(t, 0, stopping)
  const { transport } = caller(port)
  await t.resolves(probeHealth(transport)())
  isBlocked = true
  await t.rejects(probeHealth(transport)(), { message: 'answers that it is not ready' })
})

t.test('calls an instance that is not serving only if there is no other', async (t) => {
  let isReady = true
  const [stops, stays] = await Promise.all([instance(t, 0, { ...alwaysReady, ready: () => isReady }), instance(t)])
  const { client, transport } = caller(stops.port, stays.port)
  isReady = false
  await probeHealth(transport)()
  await until('the instance that stops gets no calls', async () => {
    const before = stops.calls.created
    for (let call = 0; call < 2; call += 1) await client.createSession({})
    return stops.calls.created === before
  })
  const before = { stops: stops.calls.created, stays: stays.calls.created }
  for (let call = 0; call < 20; call += 1) await client.createSession({})
  t.equal(stays.calls.created - before.stays, 20)
  await stays.kill()
  await probeHealth(transport)().catch(() => {})
  t.equal(await codeOf(client.createSession({})), undefined)
  t.equal(stops.calls.created - before.stops, 1)
})
