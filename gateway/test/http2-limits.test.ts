/** Limits and draining of HTTP/2: streams, unread responses, late requests, idle connections, GOAWAY, a rolling restart. */

import { once } from 'node:events'
import { type ClientHttp2Session, constants } from 'node:http2'
import { connect } from 'node:tls'
import { Registry } from '@prometheus-io/client'
import t, { type Test } from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { silentLog } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { createFastify } from '../fastify.ts'
import { limitConnections } from '../plugins/connection-limits.ts'
import { drainConnections } from '../plugins/drain.ts'
import { errorHandling } from '../plugins/error-responses.ts'
import { acceptJsonOnly } from '../plugins/json-body.ts'
import { listen } from './gateway.ts'
import { answerOf, openSession, send, start } from './http2-client.ts'

const { NGHTTP2_CANCEL: cancel, NGHTTP2_REFUSED_STREAM: refused } = constants
const tls = createTestCa(t).issue('gateway')
const defaults = { maxStreams: 100, keepAliveTimeout: 75_000, receiveTimeout: 10_000, unreadTimeout: 30_000 }

/** A server with the connections of the gateway, and routes that wait for `finish`, and that answer much. */
async function serve(t: Test, options: Partial<typeof defaults> = {}) {
  const limits = { max: 1000, maxPerNetwork: 100, maxPipelined: 32, ...defaults, ...options }
  const registry = new Registry()
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>()
  const isTrusted = () => false
  const errors = errorHandling(registry, silentLog)
  const { app, connections } = createFastify(silentLog, errors, { ...limits, connections: limits, tls }, isTrusted)
  limitConnections(app, connections, limits, { registry, log: silentLog, isTrusted })
  acceptJsonOnly(app)
  drainConnections(app, connections)
  app.get('/wait', () => finished.then(() => 'finished'))
  app.get('/large', async () => Buffer.alloc(1_000_000))
  let read = 0
  app.post('/body', { schema: { body: {} } }, async () => {
    read += 1
    return 'read'
  })
  const port = await listen(app)
  t.teardown(() => {
    finish()
    return app.close()
  })
  const ended = async (reason: string) => {
    const { values } = (await registry.getSingleMetric('http_connections_ended_total')?.get()) ?? { values: [] }
    return values.find(({ labels }) => labels.reason === reason)?.value
  }
  return { app, connections, port, finish, ended, bodiesRead: () => read }
}

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
  const { app, port, ended } = await serve(t, { unreadTimeout: 1000 })
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
  const limits = { unreadTimeout: 1000, keepAliveTimeout: 1000, receiveTimeout: 500 }
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

t.test('answers 408 to a request that does not arrive, and resets its stream', async (t) => {
  const { app, port } = await serve(t, { receiveTimeout: 700 })
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
  const { connections, port } = await serve(t, { keepAliveTimeout: 1000, receiveTimeout: 500 })
  const [unused, used] = [await openSession(t, port), await openSession(t, port)]
  t.equal((await send(used, 'POST /body', { json: {} })).statusCode, 200)
  const timer = setInterval(() => {
    for (const session of [unused, used]) if (!session.destroyed && !session.closed) session.ping(() => {})
  }, 50)
  t.teardown(() => clearInterval(timer))
  const goaways = await Promise.all([unused, used].map((session) => once(session, 'goaway')))
  for (const [code] of goaways) t.equal(code, 0)
  await until('no connection is open', () => connections.size === 0)
})

t.test('sends GOAWAY when it closes, answers requests in progress, and refuses incomplete ones', async (t) => {
  const { app, connections, port, finish } = await serve(t)
  const [idle, active] = [await openSession(t, port), await openSession(t, port)]
  const running = send(active, 'GET /wait')
  const incomplete = start(active, 'POST /body', { headers: { 'content-type': 'application/json' } })
  incomplete.on('error', () => {})
  await until('the requests arrive', () => app.requestsInFlight() === 2)
  const goaways = [idle, active].map((session) => once(session, 'goaway'))
  const refusal = new Promise((resolve) => incomplete.once('close', resolve))
  const closed = app.close()
  for (const goaway of goaways) t.equal((await goaway)[0], 0)
  await refusal
  t.equal(incomplete.rstCode, refused)
  t.equal(app.requestsInFlight(), 1)
  finish()
  t.match(await running, { statusCode: 200, body: 'finished' })
  await closed
  await until('no connection is open', () => connections.size === 0)
})

t.test('a rolling restart loses no request of HTTP/2 clients', async (t) => {
  const instances = [await serve(t), await serve(t), await serve(t)]
  const statuses = new Set<number>()
  let [answered, sentAgain, current, isDone] = [0, 0, 0, false]

  async function client(): Promise<void> {
    let session: ClientHttp2Session | undefined
    while (!isDone) {
      if (session === undefined || session.closed) session = await openSession(t, instances[current]?.port as number)
      try {
        statuses.add((await send(session, 'POST /body', { json: {} })).statusCode)
        answered += 1
      } catch (error) {
        // The gateway has not processed the request: RFC 9113, 6.8.
        if (!/NGHTTP2_REFUSED_STREAM|ERR_HTTP2_GOAWAY_SESSION/.test(`${error}`)) throw error
        sentAgain += 1
      }
    }
  }
  const load = Array.from({ length: 8 }, client)
  for (const { app } of instances.slice(0, -1)) {
    const before = answered
    await until('the clients are served', () => answered > before + 200)
    current += 1
    await app.close()
  }
  isDone = true
  await Promise.all(load)
  t.same([...statuses], [200])
  t.comment(`${answered} requests were answered, ${sentAgain} were sent again`)
})
