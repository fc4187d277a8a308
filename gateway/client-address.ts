/** The address of the client: the peer, or the hop before the trusted proxies. */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { Logger } from '#common/logging/logger.ts'

/** The client of a request; undefined if the connection was reset, so that its peer is not known. */
export type ClientOf = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined

/** @returns whether an address is in one of the networks (CIDR notation) */
export function networks(cidrs: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
  return (address) => list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Reads `X-Forwarded-For` from its end. The client is the first hop that is no trusted proxy. Ports of hops are ignored. A hop
 * that is no address is never trusted; the client is a hash of its text, so that such clients have separate limits.
 */
export function clientFinder(isTrusted: (address: string) => boolean, log: Logger): ClientOf {
  const warned = new Set<string>()
  function warnOnce(event: string, message: string): void {
    if (warned.has(event)) return
    warned.add(event)
    log.warn({ event }, message)
  }
  return ({ headers, socket }) => {
    let client = canonicalAddress(socket.remoteAddress ?? '')
    const field = headers['x-forwarded-for']
    if (client === undefined || field === undefined) return client
    if (!isTrusted(client)) {
      warnOnce(
        'forwarded_for_ignored',
        'ignored X-Forwarded-For of a peer that is not in gateway.trustedProxies: rate limits count the peer'
      )
      return client
    }
    for (const hop of String(field).split(',').reverse()) {
      if (hop.trim() === '') continue
      const address = hopAddress(hop)
      if (address === undefined) {
        warnOnce('forwarded_for_unreadable', 'a trusted proxy sent X-Forwarded-For with a hop that is no address')
        return `unreadable-${createHash('sha256').update(hop.trim()).digest('hex').slice(0, 32)}`
      }
      client = address
      if (!isTrusted(client)) break
    }
    return client
  }
}

/** The address of a hop, which can have quotes, brackets and a port. */
function hopAddress(hop: string): string | undefined {
  const bare = hop
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .trim()
  const [, bracketed] = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(bare) ?? []
  const [, beforePort] = /^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/.exec(bare) ?? []
  return canonicalAddress(bracketed?.trim() ?? beforePort ?? bare)
}

/** The network of a client, as limits count it: an IPv4 address, or the /64 network of an IPv6 address as text. */
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
