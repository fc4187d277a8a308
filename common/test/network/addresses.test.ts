/** Networks of addresses. */

import t from 'tap'
import { blockOf, canonicalAddress, fairNetworkOf, networkOf } from '../../network/addresses.ts'

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
    t.equal(fairNetworkOf(found), network.includes(':') ? block : network)
  }
  t.equal(canonicalAddress('192.0.2'), undefined)
})
