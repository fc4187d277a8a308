/** Rare streams of unary calls: exhausted stream ids, `identity` encoding, `Expect: 100-continue`. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect, createServer } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { create, toBinary } from '@bufbuild/protobuf'
import t from 'tap'
import { codeOf } from '#common/testing/code-of.ts'
import { testRpc } from '#common/testing/service.ts'
import { until } from '#common/testing/until.ts'
import { ListSessionsResponseSchema } from '#gen/session/v1/session_pb.ts'
import { caller, serve } from './upstreams.ts'

// The last id of a stream that a client opens (RFC 9113, 5.1.1).
const lastStreamId = 2 ** 31 - 1

t.test('replaces a connection whose stream ids are exhausted', async (t) => {
  const { port } = await serve(t, { listSessions: () => ({}) })
  const { client } = caller(port)
  const sessions = new Set<ClientHttp2Session>()
  const onStream = (message: unknown) => {
    const { session } = (message as { stream: ClientHttp2Stream }).stream
    if (session) sessions.add(session as ClientHttp2Session)
  }
  subscribe('http2.client.stream.created', onStream)
  t.teardown(() => unsubscribe('http2.client.stream.created', onStream))
  const list = () => codeOf(client.listSessions({ userId: 'x' }))
  t.equal(await list(), undefined)
  const [session] = sessions as Set<ClientHttp2Session & { setNextStreamID(id: number): void }>
  session?.setNextStreamID(lastStreamId)
  t.equal(await list(), undefined, 'the last one')
  t.not(await list(), undefined, 'there is none left')
  await until('the connection is replaced', async () => (await list()) === undefined)
  t.equal(sessions.size, 2)
})

t.test('reads a response with `content-encoding: identity`', async (t) => {
  const server = createServer().on('stream', (stream) => {
    stream.resume()
    stream.respond({ ':status': 200, 'content-type': 'application/proto', 'content-encoding': 'identity' })
    stream.end(toBinary(ListSessionsResponseSchema, create(ListSessionsResponseSchema, { sessions: [{ id: 'y' }] })))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const open = new Set<{ destroy(): void }>()
  server.on('session', (session) => open.add(session))
  t.teardown(() => {
    for (const session of open) session.destroy()
    server.close()
  })
  const { client } = caller((server.address() as AddressInfo).port)
  t.equal((await client.listSessions({ userId: 'x' })).sessions[0]?.id, 'y')
})

t.test('answers `Expect: 100-continue` with 100', async (t) => {
  const { port } = await serve(t, { listSessions: () => ({}) })
  const session = connect(`http://127.0.0.1:${port}`)
  t.teardown(() => session.destroy())
  const stream = session.request({
    ':method': 'POST',
    ':path': '/session.v1.SessionService/ListSessions',
    'content-type': 'application/proto',
    expect: '100-continue',
    authorization: `Bearer ${testRpc.token}`
  })
  const [headers] = await Promise.all([
    once(stream, 'response').then(([received]) => received),
    once(stream, 'continue').then(() => stream.end())
  ])
  t.equal(headers[':status'], 200)
  stream.resume()
  await once(stream, 'close')
})
