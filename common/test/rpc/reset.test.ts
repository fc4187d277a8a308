/** Resets of unary calls before, during and after their handlers. */

import { once } from 'node:events'
import { connect, constants } from 'node:http2'
import { setTimeout as sleep } from 'node:timers/promises'
import { create, toBinary } from '@bufbuild/protobuf'
import t from 'tap'
import { testRpc } from '#common/testing/service.ts'
import { DeleteUserSessionsRequestSchema } from '#gen/session/v1/session_pb.ts'
import { buildSessionServer } from './session-server.ts'

t.test('serves other calls after resets before, during and after a handler', async (t) => {
  const app = buildSessionServer({ deleteSession: () => new Promise((resolve) => setImmediate(() => resolve({}))) })
  await app.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => app.close())
  const session = connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
  t.teardown(() => session.destroy())
  const call = (authorization: string) =>
    session.request({
      ':method': 'POST',
      ':path': '/session.v1.SessionService/DeleteSession',
      'content-type': 'application/proto',
      authorization
    })
  for (let round = 0; round < 200; round += 1) {
    for (const authorization of [`Bearer ${testRpc.token}`, 'Bearer wrong']) {
      const stream = call(authorization).on('error', () => {})
      if (round % 2 === 0) stream.end()
      else stream.write(Buffer.from([0]))
      for (let turn = 0; turn < round % 5; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      stream.close(constants.NGHTTP2_CANCEL)
    }
  }
  const stream = call(`Bearer ${testRpc.token}`)
  stream.end()
  const [headers] = await once(stream, 'response')
  t.equal(headers[':status'], 200)
  stream.resume()
  await once(stream, 'close')
})

// The first field of a message whose later fields decide what it does.
const userId = 'x'
const binary = toBinary(DeleteUserSessionsRequestSchema, create(DeleteUserSessionsRequestSchema, { userId }))
const envelope = Buffer.concat([Buffer.from([0, 0, 0, 0, binary.length]), binary])
const ways: Record<string, { headers: Record<string, string>; content: Uint8Array }> = {
  direct: { headers: { 'content-type': 'application/proto' }, content: binary },
  'by connect-fastify': {
    headers: { 'content-type': 'application/proto', 'content-encoding': 'identity' },
    content: binary
  },
  'as JSON': { headers: { 'content-type': 'application/json' }, content: Buffer.from(JSON.stringify({ userId })) },
  'of gRPC': { headers: { 'content-type': 'application/grpc', te: 'trailers' }, content: envelope },
  'of gRPC-Web': { headers: { 'content-type': 'application/grpc-web+proto' }, content: envelope }
}

for (const [way, { headers, content }] of Object.entries(ways)) {
  t.test(`a call that is reset before the end of its message reaches no handler: ${way}`, async (t) => {
    let calls = 0
    const app = buildSessionServer({
      deleteUserSessions() {
        calls += 1
        return {}
      }
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    t.teardown(() => app.close())
    const session = connect(`http://127.0.0.1:${(app.server.address() as { port: number }).port}`)
    t.teardown(() => session.destroy())
    const call = () =>
      session
        .request({
          ':method': 'POST',
          ':path': '/session.v1.SessionService/DeleteUserSessions',
          authorization: `Bearer ${testRpc.token}`,
          ...headers
        })
        .on('error', () => {})
    for (const reason of [undefined, new Error('the caller disconnected')]) {
      for (let round = 0; round < 10; round += 1) {
        const stream = call()
        stream.write(content)
        await sleep(5)
        const closed = new Promise((resolve) => stream.once('close', resolve))
        // `close` would end the message first.
        stream.destroy(reason)
        await closed
      }
    }
    await sleep(50)
    t.equal(calls, 0)
    const whole = call()
    whole.end(content)
    whole.resume()
    await once(whole, 'close')
    t.equal(calls, 1, 'a complete message reaches the handler')
  })
}
