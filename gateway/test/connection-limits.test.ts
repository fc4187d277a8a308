/** Limits of connections: in total, per network, pipelined, unread and idle; each is counted and logged. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { affordableConnections } from '#common/process/descriptors.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { until } from '#common/testing/until.ts'
import { answersIn, firstAnswer, head, sendBytes } from './bytes.ts'
import { buildGateway, listen, requireForm } from './gateway.ts'

const bundle = head('GET /docs/static/swagger-ui-bundle.js HTTP/1.1')
const small = head('GET /nowhere HTTP/1.1')
const defaults = {
  max: 10_000,
  maxPerNetwork: 500,
  maxPipelined: 32,
  maxStreams: 100,
  receiveTimeout: 10_000,
  unreadTimeout: 30_000
}

async function serve(
  t: Test,
  connections: Partial<typeof defaults> = {},
  keepAliveTimeout = 75_000,
  trusted: string[] = []
) {
  const options = {
    connections: { ...defaults, ...connections },
    keepAliveTimeout,
    trustedProxies: trusted,
    docs: true
  }
  const { app, registry, lines } = await buildGateway(t, { options })
  const port = await listen(app)
  const ended = async (reason: string) => {
    const { values } = (await registry.getSingleMetric('http_connections_ended_total')?.get()) ?? { values: [] }
    return values.find(({ labels }) => labels.reason === reason)?.value
  }
  return { app, port, lines, ended }
}

/** Opens a connection that reads nothing until it is resumed. */
async function open(t: Test, port: number, text = '', localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(text)
  return socket
}

/** Waits until the gateway closes a connection. */
async function untilClosed(socket: Socket): Promise<void> {
  socket.resume()
  await until('the gateway has closed the connection', () => socket.closed)
}

t.test('ends a connection whose response is not read', async (t) => {
  const { app, port, lines, ended } = await serve(t, { unreadTimeout: 1000 })
  await open(t, port, bundle.repeat(30))
  await until('responses are in flight', () => app.requestsInFlight() > 0)
  await until('the connection has ended', async () => (await ended('unread')) === 1)
  await until('no response is in flight', () => app.requestsInFlight() === 0)
  t.match(lines.join(''), /"level":"warn".*"event":"http_connection_ended".*"reason":"unread"/)
})

t.test('sends complete responses to a client that reads slowly', async (t) => {
  const { port, ended } = await serve(t, { unreadTimeout: 2000 })
  const slow = await open(t, port, bundle + head('GET /nowhere HTTP/1.1', 'Connection: close'))
  let bytes = 0
  slow.on('data', (chunk) => {
    bytes += chunk.length
    slow.pause()
    setTimeout(() => slow.resume(), 5)
  })
  await new Promise((resolve) => slow.once('end', resolve))
  t.ok(bytes > 1_000_000, `${bytes} bytes`)
  t.equal(await ended('unread'), 0)
})

t.test('answers 429 to pipelined requests above the maximum, and ends the connection', async (t) => {
  const { port, ended, lines } = await serve(t, { maxPipelined: 4 })
  t.equal(answersIn(await sendBytes(port, small.repeat(4), 500)).length, 4)
  const answers = answersIn(await sendBytes(port, small.repeat(7), 3000))
  t.same(answers, [...Array(4).fill('HTTP/1.1 404'), 'HTTP/1.1 429'], 'the requests behind it have no response')
  t.equal(await ended('pipelined'), 1)
  const socket = await open(t, port, bundle.repeat(590))
  await untilClosed(socket)
  t.equal(await ended('pipelined'), 2)
  t.match(lines.join(''), /"reason":"pipelined"/)
})

t.test('limits the connections of a network, but not of a trusted proxy', async (t) => {
  const { port, ended } = await serve(t, { maxPerNetwork: 3 }, 75_000, ['127.0.7.0/24'])
  const first = await Promise.all(Array.from({ length: 3 }, () => open(t, port)))
  await untilClosed(await open(t, port))
  t.equal(await ended('network'), 1)
  const answers = async (localAddress: string) => {
    const socket = await open(t, port, small, localAddress)
    return new Promise((resolve) => {
      socket.once('data', () => resolve(true)).once('close', () => resolve(false))
    })
  }
  t.equal(await answers('127.0.0.9'), true, 'another address has its own limit')
  for (let count = 0; count < 6; count += 1) t.equal(await answers('127.0.7.1'), true, 'a trusted proxy has no limit')
  first[0]?.destroy()
  await until('the network may open another connection', async () => (await answers('127.0.0.1')) === true)
})

t.test('a few networks that hold all connections do not keep others out', async (t) => {
  const { app, port, ended } = await serve(t, { max: 16, maxPerNetwork: 9 })
  const busy = await open(t, port, bundle.repeat(30), '127.0.8.1')
  await until('responses are in flight', () => app.requestsInFlight() > 0)
  const idle: Socket[] = []
  for (let count = 0; count < 15; count += 1) idle.push(await open(t, port, '', `127.0.8.${1 + (count % 2)}`))
  for (let count = 1; count <= 7; count += 1) {
    const other = await open(t, port, small, `127.0.9.${count}`)
    const answered = await new Promise((resolve) => {
      other.once('data', () => resolve(true)).once('close', () => resolve(false))
    })
    t.equal(answered, true, `client ${count}`)
    t.equal(await ended('total'), count)
  }
  t.equal(busy.closed, false, 'a connection in use does not end')
  for (const socket of idle) socket.resume()
  await until('idle connections have ended', () => idle.filter(({ closed }) => closed).length === 7)
})

// N3: connections in use never ended, and the search considered the largest network only.
t.test('a few networks that hold all connections in use do not keep others out', async (t) => {
  const { app, port, ended } = await serve(t, { max: 16, maxPerNetwork: 9 })
  const openAll = (count: number, text: string, address: string) =>
    Promise.all(Array.from({ length: count }, () => open(t, port, text, address)))
  async function isAnswered(localAddress: string): Promise<boolean> {
    const socket = await open(t, port, small, localAddress)
    return new Promise((resolve) => {
      socket.once('data', () => resolve(true)).once('close', () => resolve(false))
    })
  }
  async function openUnread(count: number, address: string): Promise<void> {
    const sockets = await openAll(count, bundle.repeat(10), address)
    await Promise.all(sockets.map((socket) => once(socket, 'readable')))
  }
  const connections = () => new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count)))
  await openUnread(8, '127.0.8.1')
  const waiting = await openAll(7, head('GET /session HTTP/1.1', 'Transfer-Encoding: chunked'), '127.0.8.2')
  const closed = () => waiting.filter((socket) => socket.resume().closed).length
  const [idle] = await openAll(1, '', '127.0.8.3')
  await until('all requests are in flight', () => app.requestsInFlight() >= 15)

  for (let count = 1; count <= 3; count += 1) {
    t.equal(await isAnswered(`127.0.9.${count}`), true, `client ${count}`)
    await until('a connection that waits for its request ends', () => closed() === count)
    t.equal(await ended('total'), count, 'and no other')
  }
  t.equal(await isAnswered('127.0.8.1'), false, 'the largest network gets no further connection')

  for (const socket of waiting) socket.destroy()
  await until('they are closed', async () => (await connections()) === 12)
  await openUnread(4, '127.0.8.2')
  t.equal(await ended('total'), 4)
  t.equal(await isAnswered('127.0.9.4'), true, 'a connection in use of the largest network ends')
  t.equal(await ended('total'), 5)
  t.equal(idle?.resume().closed, false, 'the only connection of a network does not end')
})

t.test('limits all connections, below the limit of descriptors', async (t) => {
  const { port, ended } = await serve(t, { max: 16, maxPerNetwork: 1 }, 75_000, ['127.0.7.0/24'])
  for (let count = 0; count < 16; count += 1) await open(t, port, '', '127.0.7.1')
  await untilClosed(await open(t, port, '', '127.0.7.1'))
  t.equal(await ended('total'), 1)
  t.equal(affordableConnections(10_000, 300), 108)
  t.equal(affordableConnections(50, 300), 50)
  t.equal(affordableConnections(10_000, 100), 16)
})

fieldCase(
  t,
  28,
  'a connection stays open for `gateway.keepAliveTimeout`, which every response announces',
  async (t) => {
    const { port } = await serve(t, {}, 2000)
    const answer = firstAnswer(await sendBytes(port, small, 300))
    requireForm(t, answer, 404)
    t.equal(answer.headers['keep-alive'], 'timeout=2')
    const socket = await open(t, port, small)
    await new Promise((resolve) => socket.once('data', resolve))
    await sleep(1000)
    const sentAt = performance.now()
    socket.write(small)
    await new Promise((resolve) => socket.once('data', resolve))
    await untilClosed(socket)
    const ms = performance.now() - sentAt
    t.ok(ms >= 2000, `${Math.round(ms)} ms after the second request`)
  }
)

fieldCase(t, 28, 'blank lines do not keep an idle connection open', async (t) => {
  const { port, ended } = await serve(t, { receiveTimeout: 1000 }, 1000)
  const socket = await open(t, port, small)
  const timer = setInterval(() => socket.write('\r\n'), 100)
  t.teardown(() => clearInterval(timer))
  await untilClosed(socket)
  t.equal(await ended('idle'), 1)
})
