/** Retries and breakers against upstreams that really fail: none is made worse, none is waited for in vain, all come back. */

import { createServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError, type UnaryRequest, type UnaryResponse } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { createBreaker } from '#common/rpc/client/circuit-breaker.ts'
import { createRetryBudget } from '#common/rpc/client/retry.ts'
import { caller, codeOf, serve, userId } from '#common/test/rpc/upstreams.ts'
import { SessionService } from '#gen/session/v1/session_pb.ts'
import { startTcpProxy } from '../../../../test/support/tcp-proxy.ts'

/** Something that takes connections and never says a word. */
async function mute(t: Pick<Test, 'teardown'>, port = 0) {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => sockets.add(socket.on('error', () => {})))
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done))
  const end = () =>
    new Promise<void>((done) => {
      for (const socket of sockets) socket.destroy()
      server.close(() => done())
    })
  t.teardown(end)
  return { port: (server.address() as { port: number }).port, end }
}

t.test('the budget is a tenth of the calls of the last ten seconds, and one for whoever makes few', async (t) => {
  let now = 0
  const budget = createRetryBudget({ now: () => now })
  const granted = (tries: number) => Array.from({ length: tries }, () => budget.mayRetry()).filter(Boolean).length
  t.equal(granted(10), 1, 'nobody has called yet')
  for (let call = 0; call < 100; call += 1) budget.called()
  t.equal(granted(100), 9)
  now = 5000
  for (let call = 0; call < 100; call += 1) budget.called()
  t.equal(granted(100), 10)
  now = 10_000
  t.equal(granted(100), 0, 'what the first hundred allowed is over, and so are their calls')
  now = 16_000
  t.equal(granted(100), 1)
  now = 60_000
  t.equal(granted(100), 1)
})

t.test('a call that may be repeated survives a connection that dies, one that may not does not', async (t) => {
  let calls = 0
  const first = await serve(t, { listSessions: () => ({}), createSession: () => ({}) })
  const { client, retries } = caller(first.port)
  await client.listSessions({ userId })
  await first.kill()
  const second = await serve(
    t,
    {
      listSessions() {
        calls += 1
        return {}
      }
    },
    first.port
  )
  await client.listSessions({ userId })
  t.equal(calls, 1)
  await second.kill()
  const before = await retries()
  // Sent into a connection that was just about to break, it may have been done.
  const unknown = [Code.Unavailable, Code.DeadlineExceeded]
  t.ok(unknown.includes((await codeOf(client.createSession({ userId }))) as Code))
  t.equal(await retries(), before, 'a session may not be created twice')
})

t.test('a call that was done and whose answer was lost is never said to be certainly not done', async (t) => {
  let calls = 0
  const server = await serve(t, {
    deleteSession() {
      calls += 1
      server.cut()
      return {}
    }
  })
  const { client } = caller(server.port)
  t.equal(await codeOf(client.deleteSession({}, { timeoutMs: 3000 })), Code.DeadlineExceeded)
  t.equal(calls, 2, 'not even when it was made again')

  const changing = await serve(t, {
    deleteSession() {
      calls += 1
      if (calls === 4) throw unavailable('not now')
      changing.cut()
      return {}
    }
  })
  t.equal(await codeOf(caller(changing.port).client.deleteSession({}, { timeoutMs: 3000 })), Code.DeadlineExceeded)
  t.equal(calls, 4, 'nor when it was certainly not done the second time')
})

t.test('nor when the answer is lost and nobody is there to be asked again', async (t) => {
  const server = await serve(t, {
    deleteSession() {
      void server.kill()
      return {}
    }
  })
  const { client } = caller(server.port)
  t.equal(await codeOf(client.deleteSession({}, { timeoutMs: 3000 })), Code.DeadlineExceeded)
})

t.test('a call whose upstream fell silent may have been done', async (t) => {
  const { port } = await mute(t)
  t.equal(await codeOf(caller(port).client.createSession({ userId }, { timeoutMs: 6000 })), Code.DeadlineExceeded)
})

t.test('an upstream that says that it cannot is neither asked again nor cut off', async (t) => {
  let calls = 0
  const { port } = await serve(t, {
    listSessions() {
      calls += 1
      throw unavailable('Not now.')
    },
    validateSession: () => ({})
  })
  const { client, breaker, retries } = caller(port)
  for (let call = 0; call < 30; call += 1) t.equal(await codeOf(client.listSessions({ userId })), Code.Unavailable)
  t.equal(calls, 30)
  t.equal(await retries(), 0)
  t.equal(await breaker(), 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined, 'what it can do it still does')
})

t.test('a handler that has no answer in time is not taken for a dead upstream', async (t) => {
  const { port } = await serve(t, { listSessions: () => new Promise(() => {}), validateSession: () => ({}) })
  const { client, breaker } = caller(port)
  const calls = Array.from({ length: 20 }, () => client.listSessions({ userId }, { timeoutMs: 300 }))
  t.same(new Set(await Promise.all(calls.map(codeOf))), new Set([Code.DeadlineExceeded]))
  t.equal(await breaker(), 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined)
})

t.test('an outage is not amplified: calls to a dead upstream are at most 1.1 for each that is made', async (t) => {
  const gone = await serve(t, {})
  await gone.kill()
  const { client, attempts, refused } = caller(gone.port)
  const made = 1000
  for (let call = 0; call < made; call += 20) {
    await Promise.all(Array.from({ length: 20 }, () => codeOf(client.listSessions({ userId }))))
  }
  const perCall = (await attempts()) / made
  t.comment(`${perCall} calls for each; ${await refused()} of ${made} refused at once`)
  t.ok(perCall <= 1.1)
})

t.test('the same while the breaker has nothing to do: failures now and then', async (t) => {
  // Never so many in a row that the breaker would look.
  let calls = 0
  const { port } = await serve(t, {
    listSessions() {
      calls += 1
      if (calls % 3 === 0) throw new ConnectError('gone', Code.Unavailable)
      return {}
    }
  })
  const { client, attempts, retries } = caller(port)
  const made = 1000
  for (let call = 0; call < made; call += 1) await codeOf(client.listSessions({ userId }))
  t.ok((await retries()) > 50, `${await retries()} retries`)
  t.ok((await attempts()) <= made * 1.1 + 1)
})

t.test(
  'a mute upstream: after some deadlines answers come at once, and calls go through as soon as it speaks',
  async (t) => {
    const silent = await mute(t)
    const { client, breaker, refused } = caller(silent.port)
    const timeoutMs = 200
    const first = Array.from({ length: 10 }, () => codeOf(client.validateSession({ token: 'x' }, { timeoutMs })))
    t.ok((await Promise.all(first)).every((code) => code === Code.DeadlineExceeded))
    while ((await breaker()) === 0) await sleep(20)
    const startedAt = performance.now()
    for (let call = 0; call < 100; call += 1) {
      t.equal(await codeOf(client.validateSession({ token: 'x' }, { timeoutMs })), Code.Unavailable)
    }
    t.ok(performance.now() - startedAt < 1000, '100 answers in less time than five deadlines')
    t.ok((await refused()) >= 100)
    await silent.end()
    await serve(t, { validateSession: () => ({}) }, silent.port)
    const back = performance.now()
    while ((await codeOf(client.validateSession({ token: 'x' }, { timeoutMs }))) !== undefined) await sleep(20)
    t.ok(performance.now() - back < 2000, `${Math.round(performance.now() - back)} ms after it came back`)
    t.equal(await breaker(), 0)
  }
)

t.test('an upstream that is silent when readiness asks for its health keeps nobody waiting', async (t) => {
  const { port } = await mute(t)
  const { client, probe, breaker } = caller(port)
  await t.rejects(probe(), { code: Code.DeadlineExceeded })
  while ((await breaker()) === 0) await sleep(20)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), Code.Unavailable)
})

t.test(
  'calls on an upstream that stalls are answered when it goes on, though others were refused meanwhile',
  async (t) => {
    const { port } = await serve(t, {
      async createSession() {
        await sleep(200)
        return {}
      },
      validateSession: () => ({})
    })
    const proxy = await startTcpProxy(0, { host: '127.0.0.1', port })
    t.teardown(proxy.close)
    const { client, probe, breaker } = caller(proxy.port)
    const call = codeOf(client.createSession({ userId }, { timeoutMs: 10_000 }))
    await sleep(100)
    await proxy.become('unresponsive')
    await t.rejects(probe(), { code: Code.DeadlineExceeded })
    while ((await breaker()) === 0) await sleep(20)
    t.equal(await codeOf(client.validateSession({ token: 'x' })), Code.Unavailable)
    // Long enough for a probe to have asked again, and less than pings allow.
    await sleep(900)
    await proxy.become('pass')
    t.equal(await call, undefined)
    while ((await breaker()) !== 0) await sleep(20)
    t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined)
  }
)

t.test('a call is not refused once its upstream listens, however long it was down', async (t) => {
  const gone = await serve(t, {})
  await gone.kill()
  for (let round = 0; round < 3; round += 1) {
    const { client, breaker } = caller(gone.port)
    while ((await breaker()) === 0) await codeOf(client.listSessions({ userId }))
    const back = await serve(t, { createSession: () => ({}) }, gone.port)
    // The first call after that, and no retry: its contract allows none.
    t.equal(await codeOf(client.createSession({ userId })), undefined)
    t.equal(await breaker(), 0)
    await back.kill()
  }
})

/** A breaker that has counted the failures that have it check its upstream. */
async function suspicious(probe: () => Promise<unknown>, code: Code) {
  const breaker = createBreaker({ probe, reconnect: () => {}, changed: () => {}, refused: () => {} })
  const request = { signal: new AbortController().signal, method: SessionService.method.listSessions }
  const call = (next: () => Promise<unknown>) =>
    codeOf(breaker.intercept(next as () => Promise<UnaryResponse>)(request as unknown as UnaryRequest))
  for (let failure = 0; failure < 5; failure += 1) await call(() => Promise.reject(new ConnectError('none', code)))
  while (breaker.state() === 'closed') await sleep(10)
  return { breaker, call }
}

t.test('a call waits for the first response of an upstream that starts', async (t) => {
  let probe: () => Promise<unknown> = () => Promise.reject(new ConnectError('refused', Code.Unavailable))
  const { breaker, call } = await suspicious(() => probe(), Code.Unavailable)
  // Longer than the check of an upstream that has responded before.
  probe = () => sleep(600)
  t.equal(await call(() => Promise.resolve({})), undefined)
  t.equal(breaker.state(), 'closed')
})

t.test('a response after the limit of its check closes the breaker', async (t) => {
  const checks: (() => void)[] = []
  const { breaker } = await suspicious(() => new Promise<void>((done) => checks.push(done)), Code.DeadlineExceeded)
  for (const respond of checks) respond()
  await nextTurn()
  t.equal(breaker.state(), 'closed')
  const { length } = checks
  await sleep(500)
  t.equal(checks.length, length, 'no check follows')
})

t.test('many calls to an upstream that refuses connections cause few checks, and none waits for long', async (t) => {
  const gone = await serve(t, {})
  await gone.kill()
  let connections = 0
  const server = createServer((socket) => {
    connections += 1
    socket.destroy()
  })
  await new Promise<void>((done) => server.listen(gone.port, '127.0.0.1', done))
  t.teardown(() => server.close())
  const { client, breaker } = caller(gone.port)
  while ((await breaker()) === 0) await codeOf(client.listSessions({ userId }))
  connections = 0
  const startedAt = performance.now()
  for (let batch = 0; batch < 20; batch += 1) {
    await Promise.all(Array.from({ length: 50 }, () => codeOf(client.listSessions({ userId }))))
  }
  const tookMs = performance.now() - startedAt
  t.ok(connections <= 100 + tookMs / 40, `${connections} connections for 1000 calls in ${Math.round(tookMs)} ms`)
})
