/** HTTP/2 sessions that fail without a listener (connectrpc/connect-es#1768). */

import { once } from 'node:events'
import { connect } from 'node:http2'
import { createServer, type Socket } from 'node:net'
import t from 'tap'
import { guardHttp2Sessions } from '#common/rpc/client/http2-guard.ts'

t.test('survives a session that is reset, and a ping on a destroyed session', async (t) => {
  guardHttp2Sessions()
  guardHttp2Sessions()
  const server = createServer((socket: Socket) => socket.once('data', () => socket.resetAndDestroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const session = connect(`http://127.0.0.1:${port}`)
  await new Promise((resolve) => session.once('close', resolve))
  t.ok(session.destroyed)
  t.equal(
    session.ping(() => {}),
    false
  )
  t.equal(session.listenerCount('error'), 1, 'it is guarded once')
})
