/** The cached health check of session-svc. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code, ConnectError, createRouterTransport } from '@connectrpc/connect'
import t from 'tap'
import { v7 as uuidv7 } from 'uuid'
import { unavailable } from '#common/errors/connect-errors.ts'
import { newTrace } from '#common/ops/trace.ts'
import { methodHealth } from '#common/rpc/server/health.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { Health, HealthCheckResponse_ServingStatus as Status } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { createSessionClient } from '../session-client.ts'
import { sessionsDouble, sessionTransport } from './service.ts'

const call = { signal: new AbortController().signal, timeoutMs: () => 5000, trace: newTrace() }

t.test('checks session-svc before a hash only if the last result is older than 1.5 s or failed', async (t) => {
  const clock = createTestClock()
  const double = sessionsDouble()
  const { requireAvailable } = createSessionClient(sessionTransport(double), clock)
  const codeOf = () =>
    requireAvailable(call).then(
      () => undefined,
      (error) => ConnectError.from(error).code
    )
  await requireAvailable(call)
  double.serving = false
  await clock.advance(1499)
  t.equal(await codeOf(), undefined)
  t.equal(double.checks, 1)
  await clock.advance(1)
  for (const checks of [2, 3]) {
    t.equal(await codeOf(), Code.Unavailable)
    t.equal(double.checks, checks, 'after a failure, each call checks')
  }
  double.serving = true
  t.equal(await codeOf(), undefined)
})

t.test('readiness probes and created sessions count as checks', async (t) => {
  const clock = createTestClock()
  const double = sessionsDouble()
  const { probe, requireAvailable, sessions } = createSessionClient(sessionTransport(double), clock)
  await probe()
  await clock.advance(1400)
  await sessions.createSession({ userId: uuidv7() })
  await clock.advance(1400)
  await requireAvailable(call)
  t.equal(double.checks, 1, 'by the probe')
  double.serving = false
  await t.rejects(probe(), { message: 'answers that it is not ready' })
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
  t.equal(double.checks, 4, 'of creations, of the service as a whole, and of creations for the login')
})

t.test('a rejected creation makes the next call check', async (t) => {
  let isFull = false
  const transport = createRouterTransport(({ service }) => {
    service(Health, { check: () => ({ status: isFull ? Status.NOT_SERVING : Status.SERVING }) })
    service(SessionService, {
      createSession() {
        throw unavailable('Redis is full.')
      }
    })
  })
  const { probe, requireAvailable, sessions } = createSessionClient(transport)
  await probe()
  isFull = true
  await requireAvailable(call)
  await t.rejects(sessions.createSession({ userId: uuidv7() }), { code: Code.Unavailable })
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
})

t.test('a late result of an older check does not replace that of a newer one', async (t) => {
  const late = Promise.withResolvers<void>()
  let checks = 0
  const transport = createRouterTransport(({ service }) => {
    service(Health, {
      async check() {
        checks += 1
        if (checks > 1) return { status: Status.NOT_SERVING }
        await late.promise
        return { status: Status.SERVING }
      }
    })
  })
  const clock = createTestClock()
  const { probe, requireAvailable } = createSessionClient(transport, clock)
  const older = probe()
  await nextTurn()
  await clock.advance(1)
  await t.rejects(probe(), { message: 'answers that it is not ready' })
  late.resolve()
  await older
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
})

t.test('a check that ran out of time is not recorded', async (t) => {
  const clock = createTestClock()
  const double = sessionsDouble()
  const { probe, requireAvailable } = createSessionClient(sessionTransport(double), clock)
  await t.rejects(requireAvailable({ ...call, signal: AbortSignal.abort() }), { code: Code.Canceled })
  await probe()
  await t.rejects(requireAvailable({ ...call, signal: AbortSignal.abort() }, 0), { code: Code.Canceled })
  const { checks } = double
  await requireAvailable(call)
  t.equal(double.checks, checks)
})

t.test('while no session can be created, no password is hashed, and user-svc stays ready for logouts', async (t) => {
  const creations = methodHealth(SessionService.method.createSession)
  const transport = createRouterTransport((router) => {
    router.service(Health, {
      check: ({ service }) => ({ status: service === creations ? Status.NOT_SERVING : Status.SERVING })
    })
  })
  const { probe, requireAvailable } = createSessionClient(transport)
  await probe()
  await t.rejects(requireAvailable(call), { code: Code.Unavailable })
})

t.test('an older session-svc is checked as a whole, because it knows no health of a method', async (t) => {
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
