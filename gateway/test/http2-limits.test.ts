/** Limits of HTTP/2: streams, resets, unread responses, late and incomplete requests, idle connections. */

import { once } from 'node:events'
import { constants } from 'node:http2'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { answerOf, openSession, send, start } from './http2-client.ts'
import { serve } from './http2-server.ts'

const { NGHTTP2_CANCEL: cancel } = constants

t.test('refuses the streams of a connection above gateway.connections.maxStreams', async (t) => {
  const { app, port, finish } = await serve(t, { maxStreams: 5 })
  const session = await openSession(t, port)
  if (session.remoteSettings.maxConcurrentStreams !== 5) await once(session, 'remoteSettings')
  t.equal(session.remoteSettings.maxConcurrentStreams, 5)
  const answers = Array.from({ length: 8 }, () => send(session, 'GET /wait'))
  await until('requests wait', () => app.requestsInFlight() === 5)
  finish()
  for (const answer of await Promise.all(answers)) t.equal(answer.statusCode, 200, 'the client sends the others later')
})

t.test('resets a response that is not read, and serves other streams of the connection', async (t) => {
  const { app, port, ended } = await serve(t, { unreadTimeout: 300 })
  const session = await openSession(t, port, { settings: { initialWindowSize: 1000 } })
  const unread = session.request({ ':path': '/large' }).on('error', () => {})
  unread.pause()
  const closed = once(unread, 'close')
  await once(unread, 'response')
  t.equal((await send(session, 'POST /body', { json: {} })).statusCode, 200)
  await until('the response is ended', async () => (await ended('unread')) === 1)
  await closed
  t.equal(unread.rstCode, cancel)
  t.equal(app.requestsInFlight(), 0)
  t.equal((await send(session, 'POST /body', { json: {} })).statusCode, 200)
})

/** A frame of HTTP/2 (RFC 9113, 4.1). */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A connection whose bytes the test writes, and never reads. */
async function openRaw(t: Test, port: number) {
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  socket.on('error', () => {}).pause()
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  return socket
}

// RFC 7541: GET or POST, https, the path, the authority, the type of the body.
const get = (path: string) => header(`\x82\x87\x04${String.fromCharCode(path.length)}${path}\x01\x01h`)
const post = (path: string) =>
  header(`\x83\x87\x04${String.fromCharCode(path.length)}${path}\x01\x01h\x0f\x10\x10application/json`)
const header = (text: string) => Buffer.from(text, 'latin1')

t.test('ends the responses of a client that reads nothing at all, and its connection', async (t) => {
  const limits = { unreadTimeout: 300, keepAliveTimeout: 500, receiveTimeout: 1000 }
  const { app, connections, port, ended } = await serve(t, limits)
  const socket = await openRaw(t, port)
  const wide = Buffer.from('\0\x04\x3f\xff\xff\xff', 'latin1')
  const requests = Array.from({ length: 50 }, (_, index) => frame(1, 5, 2 * index + 1, get('/large')))
  socket.write(Buffer.concat([frame(4, 0, 0, wide), frame(8, 0, 0, wide.subarray(2)), ...requests]))
  await until('responses are ended', async () => Number(await ended('unread')) > 10)
  await until('no response is in flight', () => app.requestsInFlight() === 0)
  await until('the connection is closed', () => connections.size === 0)
})

t.test('does not process a body whose stream is reset before its end', async (t) => {
  const { app, port, bodiesRead } = await serve(t)
  const socket = await openRaw(t, port)
  for (const code of [0, cancel]) {
    const stream = code + 1
    socket.write(Buffer.concat([frame(4, 0, 0, Buffer.alloc(0)), frame(1, 4, stream, post('/body'))]))
    socket.write(frame(0, 0, stream, Buffer.from('{}')))
    await until('the request arrives', () => app.requestsInFlight() === 1)
    socket.write(frame(3, 0, stream, Buffer.from([0, 0, 0, code])))
    await until('the request has ended', () => app.requestsInFlight() === 0)
  }
  const session = await openSession(t, port)
  t.equal((await send(session, 'POST /body', { json: {} })).statusCode, 200)
  t.equal(bodiesRead(), 1)
})

t.test('ends a connection that resets many streams, but not that of a trusted proxy', async (t) => {
  for (const isProxy of [false, true]) {
    const { app, connections, port, bodiesRead } = await serve(t, {}, () => isProxy)
    const socket = await openRaw(t, port)
    socket.write(frame(4, 0, 0, Buffer.alloc(0)))
    for (let stream = 1; stream < 4000 && !socket.destroyed; stream += 2) {
      const reset = frame(3, 0, stream, Buffer.from([0, 0, 0, cancel]))
      socket.write(Buffer.concat([frame(1, 5, stream, get('/wait')), reset]))
      // The gateway reads the stream before its reset.
      if (stream % 40 === 1) await new Promise(setImmediate)
    }
    socket.write(Buffer.concat([frame(1, 4, 4001, post('/body')), frame(0, 1, 4001, Buffer.from('{}'))]))
    if (isProxy) await until('a later request is read', () => bodiesRead() === 1)
    else await until('the connection is closed', () => connections.size === 0)
    await until('no request is in flight', () => app.requestsInFlight() === 0)
    t.equal(bodiesRead(), isProxy ? 1 : 0)
  }
})

t.test('answers 408 to a request that does not arrive, and resets its stream', async (t) => {
  const { app, port } = await serve(t, { receiveTimeout: 3000 })
  const session = await openSession(t, port)
  const type = { 'content-type': 'application/json' }
  const late = [start(session, 'POST /body', { headers: type }), start(session, 'POST /body', { headers: type })]
  late[1]?.write('{"a":')
  for (const answer of await Promise.all(late.map(answerOf))) {
    t.equal(answer.statusCode, 408)
    t.match(answer.headers['content-type'], /^application\/problem\+json/)
  }
  t.equal(app.requestsInFlight(), 0)
  t.equal((await send(session, 'POST /body', { json: {} })).statusCode, 200, 'other streams are served')
})

t.test('ends connections that have no request, PINGs or not', async (t) => {
  const { connections, port } = await serve(t, { keepAliveTimeout: 600, receiveTimeout: 3000 })
  const open = async () => {
    const session = await openSession(t, port)
    const timer = setInterval(() => {
      if (!session.destroyed && !session.closed) session.ping(() => {})
    }, 50)
    t.teardown(() => clearInterval(timer))
    return { session, goaway: once(session, 'goaway') }
  }
  const [used, unused] = [await open(), await open()]
  t.equal((await send(used.session, 'POST /body', { json: {} })).statusCode, 200)
  for (const { goaway } of [used, unused]) t.equal((await goaway)[0], 0)
  await until('no connection is open', () => connections.size === 0)
})
