/** The connections that end at `gateway.connections.max`: how many, and of which network. */

import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { until } from '#common/testing/until.ts'
import { head } from './bytes.ts'
import { serve } from './http2-server.ts'

const waiting = head('GET /wait HTTP/1.1')
const arriving = head('POST /body HTTP/1.1', 'Content-Type: application/json', 'Content-Length: 9')
const answered = head('GET /nowhere HTTP/1.1')

/** Opens connections that send a text. */
function openAll(t: Test, port: number, count: number, text: string, address: (index: number) => string) {
  const sockets = Array.from({ length: count }, async (_, index) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: address(index) })
    return openedFor(
      t,
      socket.on('connect', () => socket.write(text)),
      'connect'
    )
  })
  return Promise.all(sockets)
}

async function openedFor(t: Test, socket: Socket, event: string): Promise<Socket> {
  t.teardown(() => socket.destroy())
  socket.on('error', () => {}).resume()
  await once(socket, event)
  return socket
}

/** Whether a new client gets a response. It keeps its connection. */
function isServed(t: Test, port: number, localAddress: string): Promise<boolean> {
  const socket = connect({ port, host: '127.0.0.1', localAddress }, () => socket.write(answered)).on('error', () => {})
  t.teardown(() => socket.destroy())
  return new Promise((resolve) => socket.once('data', () => resolve(true)).once('close', () => resolve(false)))
}

const closedOf = (sockets: Socket[]) => sockets.filter(({ closed }) => closed)

t.test('a new connection ends one connection in use, or a share of idle ones', async (t) => {
  const { app, port, ended, finish } = await serve(t, { max: 200, maxPerNetwork: 150, tls: {} })
  const openCount = () => new Promise((resolve) => app.server.getConnections((_error, count) => resolve(count)))
  const large = await openAll(t, port, 120, waiting, () => '127.0.8.1')
  const small = await openAll(t, port, 80, waiting, () => '127.0.8.2')
  await until('all requests are in progress', () => app.requestsInFlight() === 200)

  t.equal(await isServed(t, port, '127.0.9.1'), true)
  await until('a connection of the largest network ends', () => closedOf(large).length > 0)
  t.equal(large[0]?.closed, true, 'the oldest one')
  t.equal(await ended('total'), 1, 'and no other')

  await Promise.all(Array.from({ length: 10 }, (_, index) => isServed(t, port, `127.0.9.${index + 2}`)))
  t.equal(await ended('total'), 11, 'one for each of ten simultaneous connections')
  t.equal(await openCount(), 200)

  for (const socket of small.slice(0, 30)) socket.destroy()
  await until('they are closed', async () => (await openCount()) === 170)
  const unsent = await openAll(t, port, 30, arriving, () => '127.0.8.1')
  await until('their requests are in progress', () => app.requestsInFlight() === 189)
  t.equal(await isServed(t, port, '127.0.9.12'), true)
  await until('a connection that waits for its request ends', () => closedOf(unsent).length > 0)
  t.equal(unsent[0]?.closed, true, 'the oldest one')
  t.equal(await ended('total'), 12, 'and no other')

  finish()
  await until('the other requests have their responses', () => app.requestsInFlight() === 29)
  t.equal(await isServed(t, port, '127.0.9.13'), true)
  t.equal(await ended('total'), 14, 'a share of idle connections ends')
  t.equal(closedOf(unsent).length, 1, 'before those that wait for their requests')
})

t.test('an IPv6 /48 counts as one network', async (t) => {
  const { app, port, ended } = await serve(t, { max: 200, maxPerNetwork: 150, tls: {} })
  // 127.48.x.y stands for 2001:db8:x:y::1.
  app.server.prependListener('connection', (socket: Socket) => {
    const [, x, y] = /127\.48\.(\d+)\.(\d+)$/.exec(socket.remoteAddress ?? '') ?? []
    if (x !== undefined) Object.defineProperty(socket, 'remoteAddress', { value: `2001:db8:${x}:${y}::1` })
  })
  const carrier = await openAll(t, port, 50, waiting, () => '127.0.8.1')
  const attacker = await openAll(t, port, 150, waiting, (index) => `127.48.1.${index + 1}`)
  await until('all requests are in progress', () => app.requestsInFlight() === 200)
  t.equal(await isServed(t, port, '127.0.9.1'), true)
  t.equal(await isServed(t, port, '127.48.2.1'), true, 'a client in another /48')
  t.equal(await isServed(t, port, '127.0.8.1'), true, 'a further client of the IPv4 address')
  await until('three connections end', () => closedOf([...attacker, ...carrier]).length >= 3)
  t.equal(await isServed(t, port, '127.48.1.200'), false, 'the /48 gets no further connection')
  t.equal(closedOf(carrier).length, 0)
  t.equal(await ended('total'), 4)
})

t.test('a connection over TLS with a request in progress is not idle', async (t) => {
  const { app, port, ended } = await serve(t, { max: 16 })
  const open = (localAddress: string) => {
    const options = { port, host: '127.0.0.1', localAddress, rejectUnauthorized: false, ALPNProtocols: ['http/1.1'] }
    return openedFor(t, connectTls(options), 'secureConnect')
  }
  const busy = await open('127.0.8.1')
  busy.write(waiting)
  await until('its request is in progress', () => app.requestsInFlight() === 1)
  const idle = await Promise.all(Array.from({ length: 15 }, () => open('127.0.8.1')))
  await open('127.0.9.1')
  await until('a connection ends', () => closedOf([busy, ...idle]).length > 0)
  t.equal(busy.closed, false)
  t.equal(await ended('total'), 1)
})
