/** Who the client of a request is: its peer, or the hop that the trusted proxies before the gateway name. */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { Logger } from '#common/logging/logger.ts'

/** The client of a request; undefined if the connection was reset before its peer was known. */
export type ClientOf = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined

/** Networks in CIDR notation, as a check of addresses. */
export function networks(cidrs: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const cidr of cidrs) {
    const [address = '', bits] = cidr.split('/')
    list.addSubnet(address, Number(bits), isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
  return (address) => list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Walks `X-Forwarded-For` from its end as long as the hops are trusted; the first other one is the client.
 * A port is removed from each hop before the hop is compared. A hop that is no address is never trusted; its text, hashed,
 * stands for the client, so that such clients are counted apart.
 */
export function clientFinder(trusts: (address: string) => boolean, log: Logger): ClientOf {
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
    if (!trusts(client)) {
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
      if (!trusts(client)) break
    }
    return client
  }
}

/** The address of a hop, which can be quoted, in brackets, and followed by a port. */
export function hopAddress(hop: string): string | undefined {
  const bare = hop
    .trim()
    .replace(/^"(.*)"$/, '$1')
    .trim()
  const [, bracketed] = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(bare) ?? []
  const [, beforePort] = /^(\d+\.\d+\.\d+\.\d+):\d{1,5}$/.exec(bare) ?? []
  return canonicalAddress(bracketed?.trim() ?? beforePort ?? bare)
}

/** An address in its one spelling, without a zone; IPv4 mapped into IPv6 is IPv4. Undefined if it is no address. */
export function canonicalAddress(address: string): string | undefined {
  const [bare = ''] = address.split('%')
  if (isIP(bare) === 4) return bare
  if (isIP(bare) !== 6) return undefined
  const compressed = new URL(`http://[${bare}]`).hostname.slice(1, -1)
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(compressed) ?? []
  if (high === undefined || low === undefined) return compressed
  return [high, low].flatMap((part) => [Number.parseInt(part, 16) >> 8, Number.parseInt(part, 16) & 255]).join('.')
}
