/** The circuit breaker on a clock that the tests advance. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { Code, ConnectError, type UnaryRequest, type UnaryResponse } from '@connectrpc/connect'
import t from 'tap'
import { reasonOf } from '#common/ops/probe.ts'
import { createBreaker } from '#common/rpc/client/circuit-breaker.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

const connectionRefused = () => Promise.reject(new ConnectError('none', Code.Unavailable))
const hangs = () => new Promise<never>(() => {})

function start(probe: () => Promise<unknown>) {
  const clock = createTestClock()
  const upstream = { probe, probes: 0, reconnects: 0, rejects: 0, states: [] as string[] }
  const breaker = createBreaker({
    probe() {
      upstream.probes += 1
      return upstream.probe()
    },
    reconnect: () => void upstream.reconnects++,
    onStateChange: (state) => void upstream.states.push(state),
    onReject: () => void upstream.rejects++,
    clock
  })
  const call = (next: () => Promise<unknown>, method: object = SessionService.method.listSessions) => {
    const request = { signal: new AbortController().signal, method } as unknown as UnaryRequest
    return codeOf(breaker.intercept(next as () => Promise<UnaryResponse>)(request))
  }
  return { breaker, call, clock, upstream }
}

/** A breaker that five transport failures and a failed probe have opened. */
async function opened(probe: () => Promise<unknown>) {
  const all = start(probe)
  for (let failure = 0; failure < 5; failure += 1) await all.call(connectionRefused)
  await all.clock.advance(500)
  t.equal(all.breaker.state(), 'open')
  return all
}

t.test('stays closed after five transport failures if the probe receives a response', async (t) => {
  const { breaker, call, clock, upstream } = start(async () => {})
  for (let failure = 0; failure < 4; failure += 1) await call(connectionRefused)
  t.equal(upstream.probes, 0)
  t.ok(breaker.failing())
  await call(connectionRefused)
  await clock.advance(500)
  t.equal(upstream.probes, 1)
  t.equal(breaker.state(), 'closed')
  t.notOk(breaker.failing(), 'the probe has reset the failures')
})

t.test('counts a failure as the last one for a second only', async (t) => {
  const { breaker, call, clock } = start(async () => {})
  await call(connectionRefused)
  await clock.advance(999)
  t.ok(breaker.failing())
  await clock.advance(1)
  t.notOk(breaker.failing())
})

t.test('counts no errors that the upstream sent', async (t) => {
  const { breaker, call, upstream } = start(hangs)
  const sent = () => Promise.reject(new ConnectError('full', Code.Unavailable, { 'content-type': 'application/json' }))
  for (let failure = 0; failure < 30; failure += 1) await call(sent)
  t.equal(upstream.probes, 0)
  t.notOk(breaker.failing())
})

t.test('a call that an open breaker rejects has the reason of the failed probe', async (t) => {
  const failures: [code: Code, cause: string, reason: RegExp][] = [
    [Code.Unavailable, 'ECONNREFUSED', /^cannot be reached \(ECONNREFUSED\)$/],
    [Code.Unavailable, 'CERT_HAS_EXPIRED', /^cannot be used: .* \(CERT_HAS_EXPIRED\)$/],
    [Code.DeadlineExceeded, 'ECONNRESET', /^closes the connection \(ECONNRESET\)/]
  ]
  for (const [code, cause, reason] of failures) {
    const failure = new ConnectError('failed', code, undefined, undefined, Object.assign(new Error(), { code: cause }))
    const { breaker, clock } = await opened(() => Promise.reject(failure))
    const request = { signal: new AbortController().signal, method: SessionService.method.listSessions }
    const rejected = breaker
      .intercept(hangs)(request as unknown as UnaryRequest)
      .catch((error) => error)
    await clock.advance(20)
    t.match(reasonOf(await rejected), reason)
  }
})

t.test('a probe that times out and then fails leaves no reason', async (t) => {
  const probe = Promise.withResolvers<never>()
  const { breaker, clock } = await opened(() => probe.promise)
  probe.reject(new ConnectError('late', Code.Unavailable))
  await nextTurn()
  const request = { signal: new AbortController().signal, method: SessionService.method.listSessions }
  const rejected = breaker
    .intercept(hangs)(request as unknown as UnaryRequest)
    .catch((error) => error)
  await clock.advance(20)
  t.equal(((await rejected) as Error).cause, undefined)
})

t.test('probes after a single health check that timed out', async (t) => {
  const { breaker, call, clock, upstream } = start(hangs)
  await call(() => Promise.reject(new ConnectError('late', Code.DeadlineExceeded)), Health.method.check)
  t.equal(upstream.probes, 1)
  await clock.advance(499)
  t.equal(breaker.state(), 'closed')
  await clock.advance(1)
  t.equal(breaker.state(), 'open')
})

t.test('fails calls fast without a probe while the upstream is unresponsive', async (t) => {
  const { call, upstream } = await opened(hangs)
  const { probes } = upstream
  t.equal(await call(async () => ({})), Code.Unavailable)
  t.equal(upstream.rejects, 1)
  t.equal(upstream.probes, probes)
})

t.test('probes in the background until the upstream responds, each time over a new connection', async (t) => {
  const { breaker, call, clock, upstream } = await opened(hangs)
  await clock.advance(5000)
  t.ok(upstream.reconnects >= 3, `${upstream.reconnects} connections in 5 s`)
  upstream.probe = async () => {}
  // The probe in flight has a second, and the pause before the next is random.
  await clock.advance(3000)
  t.equal(breaker.state(), 'closed')
  t.same(upstream.states.slice(-2), ['half-open', 'closed'])
  t.equal(await call(async () => ({})), undefined)
})

t.test('lets a call decide by a probe of its own while the upstream refuses connections', async (t) => {
  const { breaker, call, clock, upstream } = await opened(connectionRefused)
  upstream.probe = async () => {}
  const result = call(async () => ({}))
  await clock.advance(20)
  t.equal(await result, undefined)
  t.equal(breaker.state(), 'closed')
})

t.test('gives an upstream that has just started a second for its first response', async (t) => {
  const { call, clock, upstream } = await opened(connectionRefused)
  upstream.probe = () => clock.sleep(900)
  const result = call(async () => ({}))
  await clock.advance(920)
  t.equal(await result, undefined)
})

t.test('shares a probe between calls, at most one every 20 ms', async (t) => {
  const { call, clock, upstream } = await opened(connectionRefused)
  upstream.probes = 0
  for (let round = 0; round < 10; round += 1) {
    const calls = Array.from({ length: 50 }, () => call(async () => ({})))
    await clock.advance(20)
    t.same(new Set(await Promise.all(calls)), new Set([Code.Unavailable]))
  }
  t.ok(upstream.probes <= 12, `${upstream.probes} probes for 500 calls in 200 ms`)
})

t.test('closes after a response that arrives past the limit of its probe, and probes no more', async (t) => {
  const responses: (() => void)[] = []
  const { breaker, clock, upstream } = await opened(() => new Promise<void>((resolve) => responses.push(resolve)))
  for (const respond of responses) respond()
  await nextTurn()
  t.equal(breaker.state(), 'closed')
  const { probes } = upstream
  await clock.advance(5000)
  t.equal(upstream.probes, probes)
})
