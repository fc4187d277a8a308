/** Limits of an RPC port for peers without a credential, and of its connections: M10, open streams without end. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import t, { type Test } from 'tap'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { buildSessionServer } from '../session-server.ts'

async function serve(t: Test, connections: Partial<typeof testRpc.connections> = {}) {
  const rpc = { ...testRpc, connections: { ...testRpc.connections, ...connections } }
  const app = buildSessionServer({ deleteSession: () => ({}) }, { rpc })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as { port: number }
  t.teardown(() => app.close())
  const open = () => {
    const session = connect(`http://127.0.0.1:${port}`).on('error', () => {})
    t.teardown(() => session.destroy())
    return session
  }
  return { app, port, open }
}

/** Opens calls that stay open: a watch has an endless response, and a check a request without an end. */
function openCalls(session: ClientHttp2Session, method: 'Watch' | 'Check', count: number) {
  const streams = Array.from({ length: count }, () => {
    const path = `/grpc.health.v1.Health/${method}`
    const stream = session.request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc',
      te: 'trailers'
    })
    stream.on('error', () => {})
    if (method === 'Watch') stream.end(Buffer.alloc(5))
    return stream
  })
  const refused = () => streams.filter(({ rstCode }) => rstCode === constants.NGHTTP2_REFUSED_STREAM).length
  return { refused }
}

t.test('refuses open calls without a credential above 100 of a connection and 1000 in total', async (t) => {
  const { app, open } = await serve(t)
  for (const method of ['Watch', 'Check'] as const) {
    const flood = open()
    openCalls(flood, method, 3000)
    await until('a connection with 1000 refused calls is ended', () => flood.closed)
    const calls = openCalls(open(), method, 600)
    await until('500 calls are refused', () => calls.refused() === 500)
  }
  const others = Array.from({ length: 12 }, () => openCalls(open(), 'Check', 100))
  const refused = () => others.reduce((sum, calls) => sum + calls.refused(), 0)
  await until('the calls of other connections are decided', () => refused() + app.callsInFlight() === 1400)
  t.ok(app.callsInFlight() <= 1000 + others.length, 'a connection may always have one call')
  const probe = openCalls(open(), 'Check', 2)
  await until('the second call of a probe is refused', () => probe.refused() > 0)
  t.equal(probe.refused(), 1, 'the first one is not')
  const caller = open()
  const stream = caller.request({
    ':method': 'POST',
    ':path': '/session.v1.SessionService/DeleteSession',
    'content-type': 'application/proto',
    authorization: `Bearer ${testRpc.token}`
  })
  stream.end()
  const [headers] = await once(stream, 'response')
  t.equal(headers[':status'], 200, 'a caller with the credential is served')
})

t.test('announces the maximum of open calls of a connection', async (t) => {
  const { open } = await serve(t, { maxStreams: 123 })
  const session = open()
  await once(session, 'remoteSettings')
  t.equal(session.remoteSettings.maxConcurrentStreams, 123)
})

/** @returns the socket, and whether the server answers to the start of HTTP/2 */
function dial(t: Test, port: number, localAddress: string) {
  const socket = connectTcp({ port, host: '127.0.0.1', localAddress }).on('error', () => {})
  t.teardown(() => socket.destroy())
  socket.write(
    Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), Buffer.from('000000040000000000', 'hex')])
  )
  const isServed = new Promise<boolean>((resolve) => {
    socket.once('data', () => resolve(true)).once('close', () => resolve(false))
  })
  return { socket, isServed }
}

t.test('rejects connections above the maximum in total', async (t) => {
  const max = 20
  const { port } = await serve(t, { max })
  const first = Array.from({ length: max }, (_, index) => dial(t, port, `127.0.0.${index + 1}`))
  t.same([...new Set(await Promise.all(first.map(({ isServed }) => isServed)))], [true])
  t.equal(await dial(t, port, '127.0.0.99').isServed, false)
  first[0]?.socket.destroy()
  await until('another client may connect', () => dial(t, port, '127.0.0.99').isServed)
})

t.test('rejects connections above the maximum of an address', async (t) => {
  const { port } = await serve(t, { maxPerNetwork: 3 })
  const first = Array.from({ length: 3 }, () => dial(t, port, '127.0.0.1'))
  t.same(await Promise.all(first.map(({ isServed }) => isServed)), [true, true, true])
  t.equal(await dial(t, port, '127.0.0.1').isServed, false)
  t.equal(await dial(t, port, '127.0.0.9').isServed, true, 'another address has its own maximum')
  first[0]?.socket.destroy()
  await until('the address may connect again', () => dial(t, port, '127.0.0.1').isServed)
})

// N2: each pipelined request started a call without end.
t.test('starts the pipelined calls of an HTTP/1.1 connection one after the other', async (t) => {
  const { app, port } = await serve(t)
  const head = (method: string, type: string, length: number) =>
    `POST /grpc.health.v1.Health/${method} HTTP/1.1\r\nHost: x\r\nContent-Type: ${type}\r\nContent-Length: ${length}\r\n\r\n`
  const watch = `${head('Watch', 'application/connect+proto', 5)}\0\0\0\0\0`
  const check = `${head('Check', 'application/json', 2)}{}`
  const open = (text: string) => {
    const socket = connectTcp(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(text)
    return socket
  }
  const checks = open(check.repeat(5))
  let text = ''
  checks.on('data', (chunk) => {
    text += chunk
  })
  await until('five checks are answered in order', () => text.split('SERVING').length === 6)

  const waiting = open(watch + check + watch.repeat(10))
  await once(waiting, 'data')
  t.equal(app.callsInFlight(), 1)
  const flood = open(watch.repeat(500))
  await until('a connection with more than 16 waiting requests is ended', () => flood.destroyed, 5000)
  t.equal(app.callsInFlight(), 1)
  waiting.destroy()
  await until('no call stays open', () => app.callsInFlight() === 0)
})
