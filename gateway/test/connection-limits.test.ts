/** Connections that read nothing, ask nothing or ask too much: each is bounded, counted and logged. */

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
const defaults = { max: 10_000, maxPerNetwork: 500, maxPipelined: 32, unreadTimeout: 30_000 }

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

/** A connection that reads nothing until it is resumed. */
async function open(t: Test, port: number, text = '', localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(text)
  return socket
}

/** Waits for the end of a connection; in milliseconds. */
async function endOf(socket: Socket, withinMs: number): Promise<number> {
  const startedAt = performance.now()
  socket.resume()
  await Promise.race([
    new Promise((resolve) => socket.once('close', resolve)),
    sleep(withinMs, undefined, { ref: false })
  ])
  return performance.now() - startedAt
}

t.test('a response that is not read ends its connection', async (t) => {
  const { app, port, lines, ended } = await serve(t, { unreadTimeout: 1000 })
  await open(t, port, bundle.repeat(30))
  await until('responses wait', () => app.requestsInFlight() > 0)
  await until('the connection has ended', async () => (await ended('unread')) === 1)
  await until('nothing waits', () => app.requestsInFlight() === 0)
  t.match(lines.join(''), /"level":"warn".*"event":"http_connection_ended".*"reason":"unread"/)
})

t.test('a response that is read in time is whole, also behind others', async (t) => {
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

t.test('more pipelined requests than the maximum are refused, and the connection ends', async (t) => {
  const { port, ended, lines } = await serve(t, { maxPipelined: 4 })
  t.equal(answersIn(await sendBytes(port, small.repeat(4), 500)).length, 4)
  const answers = answersIn(await sendBytes(port, small.repeat(7), 3000))
  t.same(answers, [...Array(4).fill('HTTP/1.1 404'), 'HTTP/1.1 429'], 'nothing behind the refusal is processed')
  t.equal(await ended('pipelined'), 1)
  const socket = await open(t, port, bundle.repeat(590))
  t.ok((await endOf(socket, 10_000)) < 10_000)
  t.equal(await ended('pipelined'), 2)
  t.match(lines.join(''), /"reason":"pipelined"/)
})

t.test('connections of one network are bounded, those of a trusted proxy are not', async (t) => {
  const { port, ended } = await serve(t, { maxPerNetwork: 3 }, 75_000, ['127.0.7.0/24'])
  const first = await Promise.all(Array.from({ length: 3 }, () => open(t, port)))
  t.ok((await endOf(await open(t, port), 5000)) < 5000, 'the fourth is rejected')
  t.equal(await ended('network'), 1)
  const answers = async (localAddress: string) => {
    const socket = await open(t, port, small, localAddress)
    return new Promise((resolve) => {
      socket.once('data', () => resolve(true)).once('close', () => resolve(false))
    })
  }
  t.equal(await answers('127.0.0.9'), true, 'another address has its own bound')
  for (let count = 0; count < 6; count += 1) t.equal(await answers('127.0.7.1'), true, 'a trusted proxy has none')
  first[0]?.destroy()
  await until('a place is free again', async () => (await answers('127.0.0.1')) === true)
})

t.test('connections are bounded in total, below the limit of descriptors', async (t) => {
  const { port, ended } = await serve(t, { max: 16, maxPerNetwork: 1 }, 75_000, ['127.0.7.0/24'])
  for (let count = 0; count < 16; count += 1) await open(t, port, '', '127.0.7.1')
  t.ok((await endOf(await open(t, port, '', '127.0.7.1'), 5000)) < 5000, 'the 17th is rejected')
  t.equal(await ended('total'), 1)
  t.equal(affordableConnections(10_000, 300), 108)
  t.equal(affordableConnections(50, 300), 50)
  t.equal(affordableConnections(10_000, 100), 16)
})

fieldCase(t, 28, 'an idle connection lives for `gateway.keepAliveTimeout`, and every response says so', async (t) => {
  const { port } = await serve(t, {}, 2000)
  const answer = firstAnswer(await sendBytes(port, small, 300))
  requireForm(t, answer, 404)
  t.equal(answer.headers['keep-alive'], 'timeout=2')
  const socket = await open(t, port, small)
  await new Promise((resolve) => socket.once('data', resolve))
  await sleep(1500)
  socket.write(small)
  await new Promise((resolve) => socket.once('data', resolve))
  const ms = await endOf(socket, 15_000)
  t.ok(ms > 1900 && ms < 15_000, `${Math.round(ms)} ms`)
})

fieldCase(t, 28, 'blank lines do not keep an idle connection open', async (t) => {
  const { port, ended } = await serve(t, {}, 1000)
  const socket = await open(t, port, small)
  const timer = setInterval(() => socket.write('\r\n'), 100)
  t.teardown(() => clearInterval(timer))
  const ms = await endOf(socket, 20_000)
  t.ok(ms < 20_000, `${Math.round(ms)} ms`)
  t.equal(await ended('idle'), 1)
})
