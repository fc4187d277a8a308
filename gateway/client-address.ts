/** The address of the client: the peer, or the hop before the trusted proxies. */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { Logger } from '#common/logging/logger.ts'
import { canonicalAddress } from '#common/network/addresses.ts'

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
