/** Readiness of a caller whose credential lacks a method that it needs. */

import { createClient } from '@connectrpc/connect'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { rpcClientMetrics } from '#common/ops/metrics.ts'
import { watchReadiness } from '#common/ops/readiness.ts'
import { methodsOfRole } from '#common/rpc/callers.ts'
import { probeHealth } from '#common/rpc/client/health-probe.ts'
import { createRpcTransport } from '#common/rpc/client/transport.ts'
import { silentLog, testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { buildSessionServer } from '../session-server.ts'

const needs = methodsOfRole('gateway', SessionService)
const ownToken = 'token-of-the-gateway'

async function serve(t: Pick<Test, 'teardown'>, callers: string[]): Promise<string> {
  const app = buildSessionServer({ listSessions: () => ({}) }, { rpc: { ...testRpc, callers } })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return `http://127.0.0.1:${(app.server.address() as { port: number }).port}`
}

/** The gateway's transport, and the reason of a failed probe. */
async function probe(t: Pick<Test, 'teardown'>, urls: string[]) {
  const upstream = { name: 'session-svc', urls, rpc: { ...testRpc, token: '', ownToken }, needs }
  const transport = createRpcTransport(upstream, rpcClientMetrics(new Registry()))
  const dependency = { name: 'session-svc', required: 'never' as const, probe: probeHealth(transport) }
  const readiness = watchReadiness([dependency], silentLog, new Registry())
  t.teardown(readiness.stop)
  await until('it is probed', () => readiness.states()[0]?.reason !== 'not probed yet')
  return { transport, isReady: readiness.ready(), reason: readiness.states()[0]?.reason }
}

t.test('a caller that lacks a method is not ready and names it', async (t) => {
  const some = 'session.v1.SessionService/ValidateSessions+session.v1.SessionService/ListSessions'
  const { isReady, reason } = await probe(t, [await serve(t, [`gateway:${ownToken}:${some}`])])
  t.equal(isReady, false)
  t.equal(reason, 'denies this service the methods session.v1.SessionService/DeleteSession (`rpc.callers`)')
})

t.test('a caller with all of its methods is ready, and so is one of a service without callers', async (t) => {
  t.match(await probe(t, [await serve(t, [`gateway:${ownToken}`])]), { isReady: true, reason: undefined })
  t.match(await probe(t, [await serve(t, [`gateway:${ownToken}:session.v1.SessionService/*`])]), { isReady: true })
  t.match(await probe(t, [await serve(t, ['gateway:another-token'])]), { isReady: false, reason: /^rejects the cred/ })
})

t.test('a call goes to the instance that permits all methods', async (t) => {
  const permits = await serve(t, [`gateway:${ownToken}`])
  const denies = await serve(t, [`gateway:${ownToken}:validation`])
  const { transport, isReady } = await probe(t, [denies, permits])
  t.equal(isReady, true)
  await until('both are probed', async () => {
    const calls = Array.from({ length: 4 }, () => createClient(SessionService, transport).listSessions({}))
    return (await Promise.allSettled(calls)).every(({ status }) => status === 'fulfilled')
  })
  for (let n = 0; n < 4; n++) await createClient(SessionService, transport).listSessions({})
})
