/** HTTP/1.1 and HTTP/2 on one port, selected by the first bytes of a connection. */

import { once } from 'node:events'
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import http2 from 'node:http2'
import { createConnection, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from '@connectrpc/connect'
import { createGrpcWebTransport } from '@connectrpc/connect-node'
import t, { type Test } from 'tap'
import { acceptHttp1 } from '#common/rpc/server/http1.ts'
import { buildSessionServer } from '#common/test/rpc/session-server.ts'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'

async function serve(t: Test, handlers: Parameters<typeof buildSessionServer>[0] = {}) {
  const app = buildSessionServer(handlers)
  await app.listen({ host: '127.0.0.1', port: 0 })
  let isClosed = false
  const close = async () => {
    if (!isClosed) await app.close()
    isClosed = true
  }
  t.teardown(close)
  return { app, close, port: (app.server.address() as { port: number }).port }
}

function connectTo(t: Test, port: number): Socket {
  const socket = createConnection(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  return socket
}

/** All that arrives on a connection until its end. */
async function received(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

const path = '/session.v1.SessionService/ListSessions'

function post(port: number, agent: Agent, body = '{}'): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${testRpc.token}` }
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', path, method: 'POST', headers, agent }, resolve)
    request.on('error', reject)
    // In chunks: a message of a stated length over the limit is rejected unread.
    request.flushHeaders()
    request.end(body)
  })
}

/** Whether a port accepts no connection. */
function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    socket
      .once('error', () => resolve(true))
      .once('connect', () => {
        socket.destroy()
        resolve(false)
      })
  })
}

async function statusOf(response: Promise<IncomingMessage>): Promise<number | undefined> {
  const { statusCode } = (await response).resume()
  return statusCode
}

t.test('serves a further request after a message over the limit', async (t) => {
  const { port } = await serve(t, { listSessions: () => ({}) })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const tooLong = await post(port, agent, JSON.stringify({ userId: 'x'.repeat(4_000_000) }))
  t.equal(await statusOf(Promise.resolve(tooLong)), 429)
  t.equal(await statusOf(post(port, agent)), 200)
  t.equal(Object.values(agent.sockets).length + Object.values(agent.freeSockets).length, 1, 'on the same connection')
})

t.test('serves several requests on one HTTP/1.1 connection', async (t) => {
  const { port } = await serve(t, { listSessions: () => ({}) })
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (let request = 0; request < 3; request += 1) t.equal(await statusOf(post(port, agent)), 200)
  const { headers } = (await post(port, agent)).resume()
  t.equal(headers['keep-alive'], 'timeout=75', 'longer than a caller reuses it')
  t.equal(await statusOf(post(port, agent, '{"userid":1}')), 400, 'an unknown field')
})

t.test('serves gRPC-Web over HTTP/1.1', async (t) => {
  const { port } = await serve(t)
  const transport = createGrpcWebTransport({ baseUrl: `http://127.0.0.1:${port}`, httpVersion: '1.1' })
  t.equal((await createClient(Health, transport).check({})).status, 1)
})

t.test('detects the protocol if the first bytes arrive one by one', async (t) => {
  const { port } = await serve(t)
  const request =
    'POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}'
  const socket = connectTo(t, port)
  const answer = received(socket)
  for (const byte of request.slice(0, 5)) {
    socket.write(byte)
    await sleep(5)
  }
  socket.write(request.slice(5))
  t.match(await answer, /^HTTP\/1\.1 200 OK[\s\S]*SERVING/)

  const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
  const slow = connectTo(t, port)
  for (const part of [preface.slice(0, 1), preface.slice(1, 4), preface.slice(4), '\0\0\0\x04\0\0\0\0\0']) {
    slow.write(part, 'latin1')
    await sleep(5)
  }
  const [settings] = (await once(slow, 'data')) as [Buffer]
  t.equal(settings[3], 4, 'a SETTINGS frame')
})

t.test('answers bytes of neither protocol with 400 and closes the connection', async (t) => {
  const { port } = await serve(t)
  const socket = connectTo(t, port)
  const answer = received(socket)
  socket.write('\x16\x03\x01 TLS')
  t.match(await answer, /^HTTP\/1\.1 400 /)
})

t.test('closes a connection that ends or times out before its first bytes', async (t) => {
  const server = http2.createServer()
  acceptHttp1(server, 50)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  t.equal(await received(connectTo(t, port)), '', 'a client that sends nothing is disconnected')
  const half = connectTo(t, port)
  half.write('PR')
  t.equal(await received(half), '', 'stops within the preface')
  const ending = connectTo(t, port)
  ending.end('P')
  t.equal(await received(ending), '', 'ends within the preface')
})

t.test('a closing server serves a call on an idle connection, and announces the end of the connection', async (t) => {
  const { app, close, port } = await serve(t, { listSessions: () => ({}) })
  let connections = 0
  app.server.on('connection', () => (connections += 1))
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  await once((await post(port, agent)).resume(), 'close')
  const closed = close()
  const { statusCode, headers } = (await post(port, agent)).resume()
  t.match({ statusCode, headers }, { statusCode: 200, headers: { connection: 'close' } })
  t.equal(connections, 1)
  await closed
})

t.test('closes idle connections and finishes accepted requests when the server closes', async (t) => {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
  const started = Promise.withResolvers<void>()
  let isFirst = true
  const { app, close, port } = await serve(t, {
    async listSessions() {
      if (!isFirst) {
        started.resolve()
        await answered
      }
      isFirst = false
      return {}
    }
  })
  const idle = new Agent({ keepAlive: true })
  const busy = new Agent({ keepAlive: true })
  t.teardown(() => [idle, busy].forEach((agent) => void agent.destroy()))
  t.equal(await statusOf(post(port, idle)), 200)
  const response = post(port, busy)
  await started.promise
  t.equal(app.callsInFlight(), 1)
  const closed = close()
  await until('a new connection is refused', () => refuses(port))
  answer()
  const { statusCode, headers } = (await response).resume()
  t.match({ statusCode, headers }, { statusCode: 200, headers: { connection: 'close' } })
  await closed
  t.equal(app.callsInFlight(), 0)
})
