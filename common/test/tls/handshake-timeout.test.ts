/** A client that does not complete its TLS handshake is disconnected, also one that sends a byte at a time. */

import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t from 'tap'
import { createTestCa } from '#common/testing/certificates.ts'
import { until } from '#common/testing/until.ts'
import { terminateTls } from '#common/tls/termination.ts'

const server = createServer((_, response) => response.end('served'))
terminateTls(server, createTestCa(t).issue('server'), ['http/1.1'], 2000)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
t.teardown(() => server.close().closeAllConnections())

/** The first bytes of a ClientHello of 200 bytes. */
const start = Buffer.from('16030100c8010000c40303', 'hex')

function open(...bytes: Buffer[]): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  for (const each of bytes) socket.write(each)
  return socket.resume()
}

t.test('an incomplete handshake ends its connection', async (t) => {
  const complete = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  t.teardown(() => complete.destroy())
  await once(complete, 'secureConnect')
  const dripping = open(start)
  const timer = setInterval(() => dripping.write(Buffer.alloc(1)), 50)
  t.teardown(() => clearInterval(timer))
  const sockets = [open(), open(start), dripping]
  await until('the connections have ended', () => sockets.every(({ closed }) => closed), 15_000)
  complete.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  t.match(String((await once(complete, 'data'))[0]), /served/, 'a complete handshake has no such limit')
})
