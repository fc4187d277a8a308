/** Networks of addresses. */

import { isIP } from 'node:net'
import fc from 'fast-check'
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

t.test('every spelling of an address has one canonical form and one network', async (t) => {
  const group = fc.integer({ min: 0, max: 0xffff }).map((value) => value.toString(16))
  const groups = fc.array(group, { minLength: 8, maxLength: 8 })
  const spellings = fc.property(groups, fc.boolean(), (written, isUpperCase) => {
    const plain = written.join(':')
    const padded = written.map((each) => each.padStart(4, '0')).join(':')
    const spelt = isUpperCase ? padded.toUpperCase() : padded
    const canonical = canonicalAddress(plain) as string
    return (
      canonicalAddress(spelt) === canonical &&
      canonicalAddress(`${spelt}%eth0`) === canonical &&
      canonicalAddress(canonical) === canonical &&
      networkOf(canonical) === networkOf(canonicalAddress(spelt) as string)
    )
  })
  const sameNetwork = fc.property(groups, groups, ([a, b, c, d], [, , , , ...host]) => {
    const [first, second] = [
      [a, b, c, d, '1', '0', '0', '0'],
      [a, b, c, d, ...host]
    ].map((each) => canonicalAddress(each.join(':')) as string) as [string, string]
    return [first, second].some((each) => isIP(each) === 4) || networkOf(first) === networkOf(second)
  })
  const mapped = fc.property(fc.ipV4(), (address) => canonicalAddress(`::ffff:${address}`) === address)
  const texts = fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.ipV6(), fc.ipV4()), (text) => {
    const canonical = canonicalAddress(text)
    return canonical === undefined ? isIP(text) === 0 : isIP(canonical) > 0
  })
  t.doesNotThrow(() => fc.assert(spellings), 'leading zeros, case and zone')
  t.doesNotThrow(() => fc.assert(sameNetwork), 'the hosts of a /64')
  t.doesNotThrow(() => fc.assert(mapped), 'IPv4 in IPv6')
  t.doesNotThrow(() => fc.assert(texts, { numRuns: 1000 }), 'any text')
})
