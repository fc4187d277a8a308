/** How tokens are batched, and that each has its own outcome and its own deadline. */

import { mock } from 'node:test'
import { Code } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { newTrace } from '#common/ops/trace.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { batchesByHand, batchesOver, sessionOf, turns, userOrKind } from './batches.ts'

/** Stops the timers; `mock.timers.tick` advances them. */
function stopTimers(t: Test): void {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
}

t.test('tokens of one turn share a call, which has the trace ids of their requests', async (t) => {
  const { validate, calls } = batchesOver()
  const traces = Array.from({ length: 16 }, newTrace)
  const tokens = traces.map((_, index) => `token-${index}`)
  const outcomes = await Promise.all(traces.map((trace, index) => validate(`token-${index}`, { trace })))
  t.equal(calls.length, 1)
  t.same(outcomes.map(userOrKind), tokens)
  const traceIds = traces.map(({ traceId }) => traceId)
  t.same(calls[0]?.request.traceIds, traceIds)
  t.match(calls[0]?.traceId, /^[0-9a-f]{32}$/)
  t.notOk(traceIds.includes(calls[0]?.traceId ?? ''), 'the call has its own trace')
})

t.test('a single token is sent without a delay, in the trace of its request', async (t) => {
  stopTimers(t)
  const { validate, batches } = batchesByHand()
  const delivered = validate('single')
  await turns(1)
  t.same(batches[0]?.tokens, ['single'])
  batches[0]?.respond()
  t.equal(userOrKind(await delivered), 'single')

  const { validate: validateByRpc, calls } = batchesOver()
  const trace = newTrace()
  await validateByRpc('single', { trace })
  t.same(calls[0]?.request.traceIds, [])
  t.equal(calls[0]?.traceId, trace.traceId)
})

t.test('at more than one token a millisecond, a batch of fewer than 8 waits for 1 ms', async (t) => {
  stopTimers(t)
  const { validate, batches, clock } = batchesByHand()
  const early = Array.from({ length: 20 }, (_, index) => {
    clock.now += 0.6
    return validate(`${index}`)
  })
  await turns(2)
  batches[0]?.respond()
  await Promise.all(early)

  const first = validate('first')
  await turns(3)
  const second = validate('second')
  await turns(3)
  t.equal(batches.length, 1, 'both wait')
  mock.timers.tick(1)
  t.same(batches[1]?.tokens, ['first', 'second'])
  batches[1]?.respond()
  await Promise.all([first, second])

  const eight = Array.from({ length: 8 }, (_, index) => validate(`${index}`))
  await turns(2)
  t.equal(batches[2]?.tokens.length, 8, 'a batch of 8 does not wait')
  batches[2]?.respond()
  await Promise.all(eight)
})

t.test('at a low rate, a small batch does not wait', async (t) => {
  stopTimers(t)
  const { validate, batches, clock } = batchesByHand()
  clock.now += 1000
  const first = validate('first')
  clock.now += 1000
  const second = validate('second')
  await turns(2)
  t.same(batches[0]?.tokens, ['first', 'second'])
  batches[0]?.respond()
  await Promise.all([first, second])
})

t.test('at most two calls are in flight, each with at most 256 tokens', async (t) => {
  const { validate, batches } = batchesByHand()
  const outcomes = Promise.all(Array.from({ length: 2000 }, (_, index) => validate(`${index}`)))
  for (let responded = 0; responded < 8; responded += 1) {
    await turns(5)
    t.equal(batches.length, Math.min(responded + 2, 8), `calls when ${responded} have a response`)
    batches[responded]?.respond()
  }
  t.ok(batches.every(({ tokens }) => tokens.length <= 256))
  t.same(
    (await outcomes).map(userOrKind),
    Array.from({ length: 2000 }, (_, index) => `${index}`)
  )
})

t.test('outcomes are delivered before further batches are sent', async (t) => {
  let delivered = 0
  let most = 0
  const { validate, batches } = batchesByHand(() => {
    setImmediate(() => batches.at(-1)?.respond())
    most = Math.max(most, batches.length * 256 - delivered)
  })
  const outcomes = Array.from({ length: 8000 }, async (_, index) => {
    await validate(`${index}`)
    delivered += 1
  })
  await Promise.all(outcomes)
  t.ok(most <= 4 * 256, `${most} were sent and not delivered`)
})

t.test('an unknown outcome does not affect the other tokens of the batch', async (t) => {
  const { validate } = batchesOver(({ tokens }) => tokens.map((token) => (token === 'bad' ? {} : sessionOf(token))))
  const outcomes = await Promise.all(['first', 'bad', 'last'].map((token) => validate(token)))
  t.same(outcomes.map(userOrKind), ['first', 'unknown', 'last'])
})

t.test('tokens that a short response lacks are unknown', async (t) => {
  const { validate } = batchesOver(({ tokens }) => tokens.slice(0, 1).map(sessionOf))
  const outcomes = await Promise.all(['first', 'second'].map((token) => validate(token)))
  t.same(outcomes.map(userOrKind), ['first', 'unknown'])
})

t.test('a failed call rejects the tokens of its batch with its error, and no later token', async (t) => {
  let isFailing = true
  const { validate } = batchesOver(({ tokens }) => {
    if (isFailing) throw unavailable('down')
    return tokens.map(sessionOf)
  })
  t.same(await Promise.all([codeOf(validate('x')), codeOf(validate('y'))]), [Code.Unavailable, Code.Unavailable])
  isFailing = false
  t.equal(userOrKind(await validate('x')), 'x')
})

t.test('a token is rejected at its own deadline while its call is in flight', async (t) => {
  stopTimers(t)
  const { validate, batches, clock } = batchesByHand()
  const short = codeOf(validate('short', { endsAt: clock.now + 60 }))
  const long = validate('long')
  await turns(1)
  clock.now += 60
  mock.timers.tick(10)
  t.equal(await short, Code.DeadlineExceeded)
  t.same(
    batches.map(({ tokens }) => tokens),
    [['short', 'long']]
  )
  batches[0]?.respond()
  t.equal(userOrKind(await long), 'long')
})

t.test('a token of a disconnected client or after its deadline is not sent', async (t) => {
  const { validate, calls, clock } = batchesOver()
  const aborted = validate('aborted', { isAborted: () => true })
  const late = validate('late', { endsAt: clock.now - 1 })
  const live = validate('live')
  t.equal(await codeOf(aborted), Code.Canceled)
  t.equal(await codeOf(late), Code.DeadlineExceeded)
  t.equal(userOrKind(await live), 'live')
  t.same(
    calls.map(({ request }) => request.tokens),
    [['live']]
  )
})

t.test('while 10,000 tokens wait, one more is rejected at once', async (t) => {
  stopTimers(t)
  const { validate, clock } = batchesByHand()
  const accepted = Array.from({ length: 10_000 }, () => codeOf(validate('x')))
  t.equal(await codeOf(validate('x')), Code.Unavailable)
  await turns(2)
  clock.now += 2000
  mock.timers.tick(10)
  t.same(new Set(await Promise.all(accepted)), new Set([Code.DeadlineExceeded]))
})
