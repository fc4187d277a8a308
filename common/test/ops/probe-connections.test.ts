/** The connections of the ops port, by peer. */

import { EventEmitter } from 'node:events'
import { type Server, Socket } from 'node:net'
import t from 'tap'
import { endOldestAbove } from '#common/ops/probe-connections.ts'

t.test('the oldest connection of the peer with the most ends, and no other', async (t) => {
  const server = new EventEmitter()
  endOldestAbove(server as unknown as Server, 4)
  const connect = (remoteAddress: string) => {
    const socket = Object.defineProperty(new Socket(), 'remoteAddress', { value: remoteAddress })
    server.emit('connection', socket)
    return socket
  }
  const kubelet = connect('192.0.2.1')
  const flood = ['127.0.0.1', '127.0.0.2', '127.0.0.3'].map(connect)
  const prometheus = connect('2001:db8::1')
  const later = ['127.0.0.4', '127.0.0.5'].map(connect)
  const isOpen = (sockets: Socket[]) => sockets.map(({ destroyed }) => !destroyed)
  t.same(isOpen([kubelet, prometheus]), [true, true])
  t.same(isOpen([...flood, ...later]), [false, false, false, true, true], 'loopback is one peer')
  kubelet.emit('close')
  connect('192.0.2.2')
  t.same(isOpen(later), [true, true], 'a closed connection makes room')
})
