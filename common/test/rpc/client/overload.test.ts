/** Client-side load shedding after an upstream has rejected a call as overloaded. */

import { Code, ConnectError, type UnaryRequest, type UnaryResponse } from '@connectrpc/connect'
import t from 'tap'
import { overloaded, retryAfterSeconds } from '#common/errors/connect-errors.ts'
import { overloadCooldown } from '#common/rpc/client/overload.ts'
import { caller, serve, userId } from '#common/test/rpc/upstreams.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { createTestClock } from '#common/testing/test-clock.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'

t.test('rejects calls of an overloaded method for 100 ms, and no calls of other methods', async (t) => {
  const clock = createTestClock()
  let rejected = 0
  const intercept = overloadCooldown(() => void rejected++, undefined, clock)
  const call = (method: keyof typeof SessionService.method, next: () => Promise<unknown>) =>
    codeOf(
      intercept(next as () => Promise<UnaryResponse>)({
        method: SessionService.method[method]
      } as unknown as UnaryRequest)
    )
  const succeeds = async () => ({})
  t.equal(await call('createSession', () => Promise.reject(overloaded(7))), Code.Unavailable)
  await clock.advance(99)
  t.equal(await call('createSession', succeeds), Code.Unavailable)
  t.equal(rejected, 1)
  t.equal(await call('validateSession', succeeds), undefined)
  await clock.advance(1)
  t.equal(await call('createSession', succeeds), undefined)
})

t.test('a cooldown is of the client whose call was shed: other clients reach the upstream', async (t) => {
  const clock = createTestClock()
  let rejected = 0
  const classOf = (message: { network?: string }) => message.network ?? ''
  const intercept = overloadCooldown(() => void rejected++, classOf, clock)
  const call = (network: string, next: () => Promise<unknown>) =>
    codeOf(
      intercept(next as () => Promise<UnaryResponse>)({
        method: SessionService.method.createSession,
        message: { network }
      } as unknown as UnaryRequest)
    )
  const succeeds = async () => ({})
  const sheds = () => Promise.reject(overloaded(7))
  t.equal(await call('a', sheds), Code.Unavailable)
  t.equal(await call('a', succeeds), Code.Unavailable)
  t.equal(await call('b', succeeds), undefined)
  t.equal(rejected, 1)
  for (let index = 0; index < 10_000; index += 1) await call(`n${index}`, sheds)
  t.equal(await call('a', succeeds), undefined, 'the oldest of too many cooldowns ends early')
  t.equal(await call('n9999', succeeds), Code.Unavailable)
  await clock.advance(100)
  t.equal(await call('n9999', succeeds), undefined)
})

t.test("passes on the upstream's Retry-After and counts the calls that it sheds", async (t) => {
  let calls = 0
  const { port } = await serve(t, {
    createSession() {
      calls += 1
      throw overloaded(7)
    }
  })
  const { client, shed } = caller(port)
  t.equal(await shed(), 0)
  const made = 20
  for (let call = 0; call < made; call += 1) {
    const error = await client.createSession({ userId }).then(() => undefined, ConnectError.from)
    t.equal(retryAfterSeconds(error as ConnectError), 7)
  }
  t.equal(calls + (await shed()), made)
})
