/** How user-svc learns whether sessions can be created. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect'
import t from 'tap'
import { methodHealth } from '#common/health.ts'
import { newTrace } from '#common/trace.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createSessionClient } from '../session-client.ts'
import { sessionsDouble, sessionTransport } from './service.ts'

const call = { signal: new AbortController().signal, timeoutMs: () => 5000, trace: newTrace() }

t.test('an answer is as old as the password may wait, a second and a half at most', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const double = sessionsDouble()
  const { requireAvailable } = createSessionClient(sessionTransport(double))
  const refusal = (waitMs: number) => requireAvailable(call, waitMs).then(() => undefined, ConnectError.from)
  for (const checks of [1, 2]) {
    await requireAvailable(call, 0)
    t.equal(double.checks, checks, 'who need not wait asks')
  }
  double.serving = false
  now += 300
  t.equal(await refusal(301), undefined)
  t.equal(double.checks, 2)
  t.equal((await refusal(300))?.code, Code.Unavailable)
  t.equal((await refusal(60_000))?.code, Code.Unavailable, 'a refusal is not forgotten')
  t.equal(double.checks, 4)

  double.serving = true
  await requireAvailable(call, 0)
  double.serving = false
  now += 1499
  t.equal(await refusal(60_000), undefined)
  now += 1
  t.equal((await refusal(60_000))?.code, Code.Unavailable)
})

t.test('what the probe of readiness is answered counts for log-ins', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const double = sessionsDouble()
  const { probe, requireAvailable } = createSessionClient(sessionTransport(double))
  await probe()
  now += 500
  await requireAvailable(call, 600)
  t.equal(double.checks, 1, 'nobody asks again')
  double.serving = false
  await t.rejects(probe(), { message: 'answers that it is not ready' })
  await t.rejects(requireAvailable(call, 600), { code: Code.Unavailable })
  t.equal(double.checks, 4, 'of creations, of the service as a whole, and of creations for the login')
})

t.test('what an older question is answered later does not count', async (t) => {
  const late = Promise.withResolvers<void>()
  let asked = 0
  const transport = createRouterTransport(({ service }) => {
    service(Health, {
      async check() {
        asked += 1
        if (asked > 1) return { status: Status.NOT_SERVING }
        await late.promise
        return { status: Status.SERVING }
      }
    })
  })
  const { probe, requireAvailable } = createSessionClient(transport)
  const older = probe()
  await nextTurn()
  await t.rejects(probe(), { message: 'answers that it is not ready' })
  late.resolve()
  await older
  await t.rejects(requireAvailable(call, 60_000), { code: Code.Unavailable })
})

t.test('whoever has no time left learns nothing for others', async (t) => {
  const double = sessionsDouble()
  const { probe, requireAvailable } = createSessionClient(sessionTransport(double))
  await probe()
  await t.rejects(requireAvailable({ ...call, signal: AbortSignal.abort() }, 0), { code: Code.Canceled })
  const { checks } = double
  await requireAvailable(call, 60_000)
  t.equal(double.checks, checks)
})

t.test(
  'while sessions can be validated only, no password is hashed, and user-svc stays ready for logouts',
  async (t) => {
    const creations = methodHealth(SessionService.method.createSession)
    const transport = createRouterTransport((router) => {
      router.service(Health, {
        check: ({ service }) => ({ status: service === creations ? Status.NOT_SERVING : Status.SERVING })
      })
    })
    const { probe, requireAvailable } = createSessionClient(transport)
    await probe()
    await t.rejects(requireAvailable(call, 60_000), { code: Code.Unavailable })
  }
)

t.test('an older session-svc, which answers for the service as a whole only, is asked for that', async (t) => {
  let status: Status = Status.SERVING
  const transport = createRouterTransport((router) => {
    router.service(Health, {
      check({ service }) {
        if (service !== SessionService.typeName) throw new ConnectError('unknown', Code.NotFound)
        return { status }
      }
    })
  })
  const { requireAvailable } = createSessionClient(transport)
  await requireAvailable(call, 0)
  status = Status.NOT_SERVING
  await t.rejects(requireAvailable(call, 0), { code: Code.Unavailable })
})
