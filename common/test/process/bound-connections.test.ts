/** The open connections of a server, and those of one network. */

import { EventEmitter } from 'node:events'
import { type Server, Socket } from 'node:net'
import t from 'tap'
import { boundConnections } from '../../process/descriptors.ts'

t.test('a server bounds the connections of an IPv6 /64 together, and those of each IPv4 address', async (t) => {
  const server = new EventEmitter()
  boundConnections(server as unknown as Server, 100, 2)
  const connect = (remoteAddress: string) => {
    const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress })
    server.emit('connection', socket)
    return socket
  }
  const open = ['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8:0:1::1', '192.0.2.1', '192.0.2.2'].map(connect)
  t.same(
    open.map(({ destroyed }) => destroyed),
    [false, false, true, false, false, false]
  )
  t.same(
    ['::ffff:192.0.2.1', '192.0.2.1'].map((address) => connect(address).destroyed),
    [false, true],
    'an IPv4 address in IPv6 is that address'
  )
  open[0]?.emit('close')
  open[2]?.emit('close')
  t.equal(connect('2001:db8::4').destroyed, false, 'a closed connection makes room')
})
