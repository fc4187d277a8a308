/** Closing: the gateway finishes accepted requests, also under TLS, and waits for no idle or incomplete connection. */

import { once } from 'node:events'
import { Agent, type IncomingMessage, request } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { connect } from 'node:net'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { terminateTls } from '#common/tls/termination.ts'
import { trackConnections } from '../connections.ts'
import { drainConnections } from '../plugins/drain.ts'
import { head } from './bytes.ts'
import { buildGateway, credentials, listen, loginAnswer, workingServices } from './gateway.ts'

/** A promise that the test resolves. */
function gate() {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

t.test('finishes an accepted request, and accepts no connection meanwhile', async (t) => {
  const [started, finish] = [gate(), gate()]
  const { app } = await buildGateway(t, {
    users: {
      async registerAndLogin() {
        started.open()
        await finish.opened
        return loginAnswer()
      }
    }
  })
  const port = await listen(app)
  const agent = new Agent({ keepAlive: true })
  t.teardown(() => agent.destroy())
  const idle = await new Promise<number | undefined>((resolve) => {
    request({ port, path: '/nope', agent }, (response) =>
      response.resume().on('end', () => resolve(response.statusCode))
    ).end()
  })
  t.equal(idle, 404)
  const running = fetch(`http://127.0.0.1:${port}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(credentials)
  })
  await started.opened
  t.equal(app.requestsInFlight(), 1)
  const closed = app.close()
  await until('a new connection is refused', async () => isRefused(port))
  finish.open()
  const answer = await running
  t.equal(answer.status, 201)
  t.match(await answer.json(), { session: { token: /^ses_/ } })
  await closed
})

t.test('ends connections without a complete request', async (t) => {
  const { app } = await buildGateway(t, workingServices())
  const port = await listen(app)
  let accepted = 0
  app.server.on('connection', () => (accepted += 1))
  const body = ['Content-Type: application/json', 'Content-Length: 80']
  const texts = ['', 'GET /session HT', `${head('POST /auth HTTP/1.1', ...body)}{"em`]
  for (const text of texts) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    t.teardown(() => socket.destroy())
    socket.write(text || Buffer.alloc(0))
  }
  await until('the requests arrive', () => accepted === texts.length && app.requestsInFlight() === 1)
  const timeoutMs = 5000
  const timer = setTimeout(() => t.fail(`not closed within ${timeoutMs} ms`), timeoutMs)
  await app.close()
  clearTimeout(timer)
})

t.test('counts and drains the requests of TLS connections', async (t) => {
  const finish = gate()
  const { app, connections, open } = await tlsServer(t, finish.opened)
  const [idle, active] = [await open(), await open()]
  const response = new Promise<string>((resolve) => {
    let text = ''
    active.on('data', (chunk) => (text += chunk)).once('close', () => resolve(text))
  })
  active.write(head('GET / HTTP/1.1'))
  await until('the request is counted', () => app.requestsInFlight() === 1)
  t.equal(connections.size, 2)
  const idleEnded = new Promise((resolve) => idle.once('close', resolve))
  const closed = app.close()
  await idleEnded
  t.equal(app.requestsInFlight(), 1)
  finish.open()
  t.match(await response, /^HTTP\/1\.1 200[\s\S]*connection: close[\s\S]*finished$/)
  await closed
  await app.connectionsClosed()
  t.equal(connections.size, 0)
})

for (const protocol of ['http', 'https'] as const) {
  t.test(`a request that follows on an idle connection is served and has its line (${protocol})`, async (t) => {
    const secure = protocol === 'https'
    const tls = secure ? { options: { tls: createTestCa(t).issue('gateway') } } : {}
    const { app, lines } = await buildGateway(t, { ...workingServices(), ...tls })
    const port = await listen(app)
    let connections = 0
    app.server.on('connection', () => (connections += 1))
    const count = 20
    const agent = new (secure ? HttpsAgent : Agent)({ keepAlive: true, maxSockets: count })
    t.teardown(() => agent.destroy())
    const call = (secure ? requestHttps : request) as typeof requestHttps
    async function announced(): Promise<boolean> {
      const sent = call({ port, host: '127.0.0.1', path: '/session', agent, rejectUnauthorized: false }).end()
      const [response] = (await once(sent, 'response')) as [IncomingMessage]
      await once(response.resume(), 'close')
      return response.headers.connection === 'close'
    }
    const callAll = () => Promise.all(Array.from({ length: count }, announced))
    t.same(new Set(await callAll()), new Set([false]))
    const closed = app.close()
    t.same(new Set(await callAll()), new Set([true]))
    t.equal(connections, count, 'on the same connections')
    await closed
    await app.connectionsClosed()
    t.equal(lines.filter((line) => line.includes('"http_request"')).length, 2 * count)
  })
}

function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
      .once('connect', () => resolve(false))
      .once('error', () => resolve(true))
    socket.once('connect', () => socket.destroy())
  })
}

/** An HTTPS server with one route, whose response waits for `finished`. */
async function tlsServer(t: Test, finished: Promise<void>) {
  const app: FastifyInstance = Fastify()
  terminateTls(app.server, createTestCa(t).issue('gateway'), ['http/1.1'])
  const connections = trackConnections(app)
  drainConnections(app, connections)
  app.get('/', async () => {
    await finished
    return 'finished'
  })
  const port = await listen(app)
  t.teardown(() => app.close())
  async function open(): Promise<TLSSocket> {
    const socket = tlsConnect({ port, host: '127.0.0.1', rejectUnauthorized: false })
    t.teardown(() => socket.destroy())
    await new Promise((resolve) => socket.once('secureConnect', resolve))
    return socket.on('error', () => {})
  }
  return { app, connections, open }
}
