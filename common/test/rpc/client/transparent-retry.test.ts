/** Calls that an instance did not process, in a rolling restart and in an outage, on a clock that the tests advance. */

import { Code, ConnectError, type UnaryRequest, type UnaryResponse } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { createBreaker } from '#common/rpc/client/circuit-breaker.ts'
import { balance } from '#common/rpc/client/load-balancer.ts'
import { notProcessed, outcomeUnknown } from '#common/rpc/client/retry.ts'
import { intercepted } from '#common/rpc/client/unary-client.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

const hangs = () => new Promise<never>(() => {})
const connectionRefused = () => Promise.reject(notProcessed(new Error('ECONNREFUSED')))
const responds = async () => ({}) as UnaryResponse

type Outcome = () => Promise<UnaryResponse>

/** Two instances behind their breakers. */
function start() {
  const clock = createTestClock()
  const instances = [0, 1].map(() => {
    const instance = { send: responds as Outcome, probe: responds as Outcome, sent: 0, isServing: () => true }
    const breaker = createBreaker({
      probe: () => instance.probe(),
      reconnect: () => {},
      onStateChange: () => {},
      onReject: () => {},
      clock
    })
    const attempt = () => {
      instance.sent += 1
      return instance.send()
    }
    return Object.assign(instance, { breaker, call: intercepted(attempt, [breaker.intercept]) })
  })
  type Fake = (typeof instances)[number]
  const [one, other] = instances as [Fake, Fake]
  const balanced = balance(instances)
  const request = () =>
    ({ signal: new AbortController().signal, method: SessionService.method.createSession }) as unknown as UnaryRequest
  const call = () => codeOf(balanced.call(request()))

  /** Opens the breaker of an instance that refuses connections, or does not respond to the probe. */
  async function open(t: Test, instance: Fake, probe: Outcome = connectionRefused) {
    Object.assign(instance, { send: connectionRefused, probe })
    for (let failure = 0; failure < 5; failure += 1) await codeOf(instance.call(request()))
    await clock.advance(500)
    t.equal(instance.breaker.state(), 'open')
    one.sent = 0
    other.sent = 0
  }
  return { one, other, call, open, clock }
}

t.test('sends a call that a stopped instance did not process to one whose breaker is still open', async (t) => {
  const { one, other, call, open, clock } = start()
  await open(t, one)
  // A rolling restart: the first is back, and the second stops before a health check has closed the breaker.
  Object.assign(one, { send: responds, probe: responds })
  other.send = connectionRefused
  const calls = Array.from({ length: 10 }, call)
  await clock.advance(20)
  t.same(new Set(await Promise.all(calls)), new Set([undefined]))
  t.equal(one.sent, 10)
})

t.test('sends a call to the instance that responds, while the breakers of both are open', async (t) => {
  const { one, other, call, open, clock } = start()
  await open(t, one)
  await open(t, other)
  Object.assign(one, { send: responds, probe: responds })
  const calls = Array.from({ length: 2 }, call)
  await clock.advance(40)
  t.same(await Promise.all(calls), [undefined, undefined])
})

t.test(
  'sends a call that no instance processes at most twice, and not at all while the breakers are open',
  async (t) => {
    const { one, other, call, open, clock } = start()
    one.send = connectionRefused
    other.send = connectionRefused
    t.equal(await call(), Code.Unavailable)
    t.same([one.sent, other.sent], [1, 1])
    await open(t, one)
    await open(t, other)
    const calls = Array.from({ length: 50 }, call)
    await clock.advance(40)
    t.same(new Set(await Promise.all(calls)), new Set([Code.Unavailable]))
    t.same([one.sent, other.sent], [0, 0])
  }
)

t.test('waits for no instance that is unresponsive', async (t) => {
  const { one, other, call, open } = start()
  await open(t, one, hangs)
  other.send = connectionRefused
  t.equal(await call(), Code.Unavailable)
  t.equal(one.sent, 0)
})

t.test('sends a call with an unknown outcome, or a response, once', async (t) => {
  const { one, other, call } = start()
  for (const error of [outcomeUnknown(new ConnectError('reset')), new ConnectError('down', Code.Unavailable)]) {
    one.sent = 0
    other.sent = 0
    one.send = () => Promise.reject(error)
    other.send = one.send
    t.equal(await call(), error.code)
    t.equal(one.sent + other.sent, 1)
  }
})
