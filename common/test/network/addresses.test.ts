/** Networks of addresses, and the connections of one network. */

import { EventEmitter } from 'node:events'
import { type Server, Socket } from 'node:net'
import t from 'tap'
import { blockOf, canonicalAddress, networkOf } from '../../network/addresses.ts'
import { boundConnections } from '../../process/descriptors.ts'

t.test('the network and the block of an address', async (t) => {
  const networks: [string, string, string][] = [
    ['192.0.2.7', '192.0.2.7', '192.0.2.0/24'],
    ['::ffff:192.0.2.7', '192.0.2.7', '192.0.2.0/24'],
    ['2001:db8:1:2:3::4', '2001:db8:1:2::/64', '2001:db8:1::/48'],
    ['2001:DB8:1:2::', '2001:db8:1:2::/64', '2001:db8:1::/48'],
    ['::1%lo', '::/64', '::/48']
  ]
  for (const [address, network, block] of networks) {
    const found = networkOf(canonicalAddress(address) as string)
    t.same([found, blockOf(found)], [network, block], address)
  }
  t.equal(canonicalAddress('192.0.2'), undefined)
})

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
