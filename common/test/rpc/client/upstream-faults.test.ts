/** Retries and circuit breakers against upstreams that fail on real connections. */

import { createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, ConnectError } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { unavailable } from '#common/errors/connect-errors.ts'
import { caller, serve, userId } from '#common/test/rpc/upstreams.ts'
import { codeOf } from '#common/testing/code-of.ts'
import { until } from '#common/testing/until.ts'
import { startTcpProxy } from '../../../../test/support/tcp-proxy.ts'

/** A server that accepts connections and never sends a byte. */
async function unresponsive(t: Pick<Test, 'teardown'>, port = 0) {
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

t.test('retries an idempotent call after its connection has failed, and no other call that was sent', async (t) => {
  let calls = 0
  const first = await serve(t, { listSessions: () => ({}) })
  const { client, retries } = caller(first.port)
  await client.listSessions({ userId })
  await first.kill()
  const second = await serve(
    t,
    {
      listSessions() {
        calls += 1
        return {}
      },
      createSession() {
        second.cut()
        return {}
      }
    },
    first.port
  )
  await client.listSessions({ userId })
  t.equal(calls, 1)
  const before = await retries()
  t.equal(await codeOf(client.createSession({ userId })), Code.DeadlineExceeded)
  t.equal(await retries(), before, 'CreateSession is not idempotent')
})

t.test('retries a call that is not idempotent if its connection was refused', async (t) => {
  const down = await serve(t, {})
  await down.kill()
  const { client, retries } = caller(down.port)
  t.equal(await codeOf(client.createSession({ userId })), Code.Unavailable)
  t.equal(await retries(), 1)
})

t.test('sends all calls that a GOAWAY refused once more, outside the retry budget', async (t) => {
  let calls = 0
  const server = await serve(t, {
    createSession() {
      calls += 1
      return {}
    }
  })
  const { client, probe, retries } = caller(server.port)
  for (let round = 1; round <= 5; round += 1) {
    await probe()
    calls = 0
    const sent = Array.from({ length: 5 }, () => codeOf(client.createSession({ userId })))
    const checked = probe()
    server.goAway()
    t.same(await Promise.all(sent), Array(5).fill(undefined))
    t.equal(calls, 5)
    await checked
  }
  t.equal(await retries(), 0)
})

t.test('reports deadline_exceeded for a call that was applied without a response, also after retries', async (t) => {
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
  t.equal(calls, 2, 'one retry')

  const changing = await serve(t, {
    deleteSession() {
      calls += 1
      if (calls === 4) throw unavailable('Not now.')
      changing.cut()
      return {}
    }
  })
  t.equal(await codeOf(caller(changing.port).client.deleteSession({}, { timeoutMs: 3000 })), Code.DeadlineExceeded)
  t.equal(calls, 4, 'the second attempt was rejected')
})

t.test('reports deadline_exceeded for a call whose upstream died before its response', async (t) => {
  const server = await serve(t, {
    deleteSession() {
      void server.kill()
      return {}
    }
  })
  const { client } = caller(server.port)
  t.equal(await codeOf(client.deleteSession({}, { timeoutMs: 3000 })), Code.DeadlineExceeded)
})

t.test('reports deadline_exceeded for a call to an unresponsive upstream', async (t) => {
  const { port } = await unresponsive(t)
  t.equal(await codeOf(caller(port).client.createSession({ userId }, { timeoutMs: 6000 })), Code.DeadlineExceeded)
})

t.test('does not retry a call that the upstream rejects as unavailable, and keeps the breaker closed', async (t) => {
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
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined, 'other methods work')
})

t.test('keeps the breaker closed when a handler exceeds its deadline', async (t) => {
  const { port } = await serve(t, { listSessions: () => new Promise(() => {}), validateSession: () => ({}) })
  const { client, breaker } = caller(port)
  const calls = Array.from({ length: 20 }, () => client.listSessions({ userId }, { timeoutMs: 300 }))
  t.same(new Set(await Promise.all(calls.map(codeOf))), new Set([Code.DeadlineExceeded]))
  t.equal(await breaker(), 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined)
})

t.test('makes at most 1.1 attempts for each call to an upstream that is down', async (t) => {
  const down = await serve(t, {})
  await down.kill()
  const { client, attempts, refused } = caller(down.port)
  const made = 1000
  for (let call = 0; call < made; call += 20) {
    await Promise.all(Array.from({ length: 20 }, () => codeOf(client.listSessions({ userId }))))
  }
  const perCall = (await attempts()) / made
  t.comment(`${perCall} attempts for each call; ${await refused()} of ${made} failed fast`)
  t.ok(perCall <= 1.1)
})

t.test('makes at most 1.1 attempts for each call to an upstream that fails now and then', async (t) => {
  // Never five in a row, which would start a probe.
  let calls = 0
  const { port } = await serve(t, {
    listSessions() {
      calls += 1
      if (calls % 3 === 0) throw new ConnectError('down', Code.Unavailable)
      return {}
    }
  })
  const { client, attempts, retries } = caller(port)
  const made = 1000
  for (let call = 0; call < made; call += 1) await codeOf(client.listSessions({ userId }))
  t.ok((await retries()) > 50, `${await retries()} retries`)
  t.ok((await attempts()) <= made * 1.1 + 1)
})

t.test('fails calls fast after an upstream became unresponsive, until it responds', async (t) => {
  const dead = await unresponsive(t)
  const { client, breaker, refused } = caller(dead.port)
  const timeoutMs = 200
  const first = Array.from({ length: 10 }, () => codeOf(client.validateSession({ token: 'x' }, { timeoutMs })))
  t.ok((await Promise.all(first)).every((code) => code === Code.DeadlineExceeded))
  await until('the breaker is open', async () => (await breaker()) !== 0)
  for (let call = 0; call < 100; call += 1) {
    t.equal(await codeOf(client.validateSession({ token: 'x' }, { timeoutMs })), Code.Unavailable)
  }
  t.ok((await refused()) >= 100)
  await dead.end()
  await serve(t, { validateSession: () => ({}) }, dead.port)
  await until('calls pass', async () => (await codeOf(client.validateSession({ token: 'x' }))) === undefined)
  t.equal(await breaker(), 0)
})

t.test('opens the breaker after a health check of readiness has timed out', async (t) => {
  const { port } = await unresponsive(t)
  const { client, probe, breaker } = caller(port)
  await t.rejects(probe(), { code: Code.DeadlineExceeded })
  await until('the breaker is open', async () => (await breaker()) !== 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), Code.Unavailable)
})

t.test('keeps in-flight calls when the upstream stalls and later continues', async (t) => {
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
  await until('the breaker is open', async () => (await breaker()) !== 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), Code.Unavailable)
  // Longer than a second probe, shorter than the timeout of a ping.
  await sleep(900)
  await proxy.become('pass')
  t.equal(await call, undefined)
  await until('the breaker is closed', async () => (await breaker()) === 0)
  t.equal(await codeOf(client.validateSession({ token: 'x' })), undefined)
})

t.test('passes the first call after the upstream accepts connections again', async (t) => {
  const down = await serve(t, {})
  await down.kill()
  for (let round = 0; round < 3; round += 1) {
    const { client, breaker } = caller(down.port)
    while ((await breaker()) === 0) await codeOf(client.listSessions({ userId }))
    const up = await serve(t, { createSession: () => ({}) }, down.port)
    // CreateSession is not idempotent, so no retry hides a rejection.
    t.equal(await codeOf(client.createSession({ userId })), undefined)
    t.equal(await breaker(), 0)
    await up.kill()
  }
})
