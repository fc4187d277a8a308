/** Peers that cancel calls, and connections that end with an HTTP/2 error code. */

import { once } from 'node:events'
import { type ClientHttp2Session, connect, createServer, constants as h2, type ServerHttp2Session } from 'node:http2'
import { Code, createClient } from '@connectrpc/connect'
import t, { type Test } from 'tap'
import { codeOf } from '#common/testing/code-of.ts'
import { fieldCase } from '#common/testing/field-cases.ts'
import { testRpc, testTransport } from '#common/testing/service.ts'
import { Health } from '#gen/grpc/health/v1/health_pb.ts'
import { buildSessionServer } from './session-server.ts'
import { caller, userId } from './upstreams.ts'

/** More resets than nghttp2 and the product allow to a peer without the credential. */
const cancelled = 1500

async function startServer(t: Test, handlers: Parameters<typeof buildSessionServer>[0] = {}) {
  const app = buildSessionServer(handlers)
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  return (app.server.address() as { port: number }).port
}

async function openSession(t: Test, port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  await once(session, 'connect')
  return session
}

/** Begins calls and resets each once it has been sent; stops when the session ends. */
async function cancelMany(session: ClientHttp2Session, path: string, token: string | undefined): Promise<void> {
  for (let sent = 0; sent < cancelled && !session.destroyed; sent += 50) {
    const streams = Array.from({ length: 50 }, () => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/grpc',
        ...(token !== undefined && { authorization: `Bearer ${token}` })
      })
      stream.on('error', () => {})
      stream.end(Buffer.alloc(5))
      return stream
    })
    await new Promise((resolve) => setImmediate(resolve))
    // A response to a PING comes after the streams have been received.
    if (!session.destroyed) await new Promise<void>((resolve) => void session.ping(() => resolve()))
    for (const stream of streams) stream.close(h2.NGHTTP2_CANCEL)
    if (!session.destroyed) await new Promise<void>((resolve) => void session.ping(() => resolve()))
  }
}

t.test('limits the calls that a peer cancels', async (t) => {
  const answer = 'a peer with the credential may cancel any number of calls on its connection'
  await fieldCase(t, 1, answer, async (t) => {
    const port = await startServer(t, { listSessions: () => new Promise(() => {}) })
    const session = await openSession(t, port)
    await cancelMany(session, '/session.v1.SessionService/ListSessions', testRpc.token)
    t.notOk(session.destroyed || session.closed)
  })

  await t.test('ends the connection of a peer without the credential after 1000 resets', async (t) => {
    const port = await startServer(t)
    for (const token of [undefined, 'wrong']) {
      const session = await openSession(t, port)
      const goaway = once(session, 'goaway')
      await cancelMany(session, '/grpc.health.v1.Health/Watch', token)
      t.equal((await goaway)[0], h2.NGHTTP2_ENHANCE_YOUR_CALM)
    }
  })

  await t.test('refuses the 101st stream of a peer without the credential, and serves other connections', async (t) => {
    const port = await startServer(t)
    const session = await openSession(t, port)
    const refused: number[] = []
    const opened: number[] = []
    await new Promise<void>((resolve) => {
      for (let count = 0; count < 130; count += 1) {
        const headers = {
          ':method': 'POST',
          'content-type': 'application/grpc',
          ':path': '/grpc.health.v1.Health/Watch'
        }
        const stream = session.request(headers)
        const done = () => refused.length + opened.length === 130 && resolve()
        stream.on('error', () => {})
        stream.once('response', () => {
          opened.push(count)
          done()
        })
        stream.once('close', () => {
          if (stream.rstCode === h2.NGHTTP2_REFUSED_STREAM) refused.push(count)
          done()
        })
        stream.end(Buffer.alloc(5))
      }
    })
    t.equal(opened.length, 100)
    t.equal(refused.length, 30)
    t.equal((await createClient(Health, testTransport(port, '')).check({})).status, 1)
  })
})

/** A peer that ends its connection, or a stream, after it has received so many calls. */
async function endingServer(t: Test, calls: number, end: (session: ServerHttp2Session) => void) {
  const server = createServer()
  const sessions = new Set<ServerHttp2Session>()
  let received = 0
  server.on('session', (session) => sessions.add(session))
  server.on('sessionError', () => {})
  server.on('stream', (stream) => {
    stream.on('error', () => {})
    received += 1
    if (received === calls) end(stream.session as ServerHttp2Session)
    else if (received > calls) stream.close(h2.NGHTTP2_REFUSED_STREAM)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const session of sessions) session.destroy()
    server.close()
  })
  return (server.address() as { port: number }).port
}

/** The error codes of RFC 9113, 7, without NO_ERROR. */
const errorCodes = Array.from({ length: 13 }, (_, index) => index + 1)

t.test('maps HTTP/2 error codes of a connection to the outcome of the call', async (t) => {
  const answer = 'a call on a connection that ends with an HTTP/2 error code is 503 if it was not applied, else 504'
  await fieldCase(t, 1, answer, async (t) => {
    for (const code of errorCodes) {
      const port = await endingServer(t, 2, (session) => {
        session.goaway(code)
        session.destroy()
      })
      const { client } = caller(port)
      const calls = [client.createSession({ userId }), client.createSession({ userId })].map(codeOf)
      t.same(await Promise.all(calls), [Code.DeadlineExceeded, Code.DeadlineExceeded], `GOAWAY ${code}`)
    }
    for (const code of errorCodes) {
      // The second stream has the id 3: it is above the last processed stream.
      const port = await endingServer(t, 2, (session) => session.goaway(code, 1))
      const { client, attempts } = caller(port)
      const calls = [client.createSession({ userId }), client.createSession({ userId })].map(codeOf)
      t.same(await Promise.all(calls), [Code.DeadlineExceeded, Code.Unavailable], `GOAWAY ${code}, last stream 1`)
      t.ok((await attempts()) > 2, 'a call that was not processed is repeated')
    }
  })

  await t.test('maps HTTP/2 error codes of a stream to the outcome of the call', async (t) => {
    for (const code of errorCodes) {
      const server = createServer()
      server.on('stream', (stream) => {
        stream.on('error', () => {})
        stream.close(code)
      })
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      t.teardown(() => server.close())
      const { client } = caller((server.address() as { port: number }).port)
      const expected = code === h2.NGHTTP2_REFUSED_STREAM ? Code.Unavailable : Code.DeadlineExceeded
      t.equal(await codeOf(client.createSession({ userId }, { timeoutMs: 1500 })), expected, `RST_STREAM ${code}`)
    }
  })
})
