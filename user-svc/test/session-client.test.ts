/** How user-svc learns whether sessions can be created. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect'
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { unavailable } from '#common/errors/connect-errors.ts'
import { newTrace } from '#common/ops/trace.ts'
import { methodHealth } from '#common/rpc/server/health.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createSessionClient } from '../session-client.ts'
import { sessionsDouble, sessionTransport } from './service.ts'

const call = { signal: new AbortController().signal, timeoutMs: () => 5000, trace: newTrace() }

t.test('session-svc is asked before a hash only if nothing is known of the last second and a half', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const double = sessionsDouble()
  const { requireAvailable } = createSessionClient(sessionTransport(double))
  const refusal = () => requireAvailable(call).then(() => undefined, ConnectError.from)
  await requireAvailable(call)
  double.serving = false
  now += 1499
  t.equal(await refusal(), undefined)
  t.equal(double.checks, 1)
  now += 1
  for (const checks of [2, 3]) {
    t.equal((await refusal())?.code, Code.Unavailable)
    t.equal(double.checks, checks, 'after a refusal it is asked each time')
  }
  double.serving = true
  t.equal(await refusal(), undefined)
})

t.test('probes of readiness and creations of sessions count for log-ins', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const double = sessionsDouble()
  const { probe, requireAvailable, sessions } = createSessionClient(sessionTransport(double))
  await probe()
  now += 1400
  await sessions.createSession({ userId: uuidv7() })
  now += 1400
  await requireAvailable(call)
  t.equal(double.checks, 1, 'by the probe')
  double.serving = false
  await t.rejects(probe(), { message: 'answers that it is not ready' })
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
  t.equal(double.checks, 4, 'of creations, of the service as a whole, and of creations for the login')
})

t.test('after a creation that session-svc refused, it is asked before the next hash', async (t) => {
  let isFull = true
  const transport = createRouterTransport(({ service }) => {
    service(Health, { check: () => ({ status: isFull ? Status.NOT_SERVING : Status.SERVING }) })
    service(SessionService, {
      createSession() {
        throw unavailable('Redis is full.')
      }
    })
  })
  const { probe, requireAvailable, sessions } = createSessionClient(transport)
  isFull = false
  await probe()
  isFull = true
  await requireAvailable(call)
  await t.rejects(sessions.createSession({ userId: uuidv7() }), { code: Code.Unavailable })
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
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
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
})

t.test('a check that ran out of time says nothing about session-svc', async (t) => {
  let now = 1000
  t.intercept(performance, 'now', { value: () => now })
  const double = sessionsDouble()
  const { probe, requireAvailable } = createSessionClient(sessionTransport(double))
  now += 1000
  await t.rejects(requireAvailable({ ...call, signal: AbortSignal.abort() }), { code: Code.Canceled })
  await probe()
  const { checks } = double
  await requireAvailable(call)
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
    await t.rejects(requireAvailable(call), { code: Code.Unavailable })
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
  await createSessionClient(transport).requireAvailable(call)
  status = Status.NOT_SERVING
  await t.rejects(createSessionClient(transport).requireAvailable(call), { code: Code.Unavailable })
})
