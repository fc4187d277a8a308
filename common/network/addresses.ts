/** Network addresses in canonical form, and the networks that limits count. */

import { isIP } from 'node:net'

/** The network of a canonical address, as limits count it: an IPv4 address, or the /64 network of an IPv6 address as text. */
export function networkOf(client: string): string {
  if (isIP(client) !== 6) return client
  return prefixOf(client, 4)
}

/** The larger block of a network: the /48 of an IPv6 network, the /24 of an IPv4 address. */
export function blockOf(network: string): string {
  const [address = ''] = network.split('/')
  if (isIP(address) === 6) return prefixOf(address, 3)
  return isIP(address) === 4 ? `${address.split('.').slice(0, 3).join('.')}.0/24` : network
}

/**
 * The network that competes with others as one: an IPv6 /48, because a subscriber can have all of its 65,536 networks, or an
 * IPv4 address.
 */
export function fairNetworkOf(network: string): string {
  const block = blockOf(network)
  return block.endsWith('/48') ? block : network
}

/** The network of the first groups of an IPv6 address. */
function prefixOf(address: string, groups: number): string {
  const [head = [], tail = []] = address.split('::').map((part) => part.split(':').filter(Boolean))
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => '0')
  const prefix = [...head, ...zeros, ...tail].slice(0, groups).join(':')
  return `${canonicalAddress(`${prefix}::`)}/${groups * 16}`
}

/** The canonical form of an address, without a zone; IPv4 for IPv4-mapped IPv6. Undefined if the text is no address. */
export function canonicalAddress(address: string): string | undefined {
  const [bare = ''] = address.split('%')
  if (isIP(bare) === 4) return bare
  if (isIP(bare) !== 6) return undefined
  const compressed = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(compressed) ?? []
  if (high === undefined || low === undefined) return compressed
  return [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.')
}
