/** The address of the client: the peer, or the hop before the trusted proxies. */

import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import type { FastifyInstance } from 'fastify'
import type { Logger } from '#common/logging/logger.ts'
import { canonicalAddress } from '#common/network/addresses.ts'
import { clientClosed } from './problem.ts'

const clientSlot = Symbol('client')
type ClientRequest = Pick<IncomingMessage, 'headers' | 'socket'> & { [clientSlot]?: string | undefined }

/**
 * The client of a request, as its first call has found it: a connection that is reset loses its address. Undefined if it was
 * reset before.
 */
export type ClientOf = (request: ClientRequest) => string | undefined

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
  function find({ headers, socket }: ClientRequest): string | undefined {
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
  return (request) => {
    if (!(clientSlot in request)) request[clientSlot] = find(request)
    return request[clientSlot]
  }
}

/** Rejects a request whose connection was reset before its client was known. */
export function requireClient(app: FastifyInstance, clientOf: ClientOf): void {
  app.addHook('onRequest', (request, _reply, done) => {
    if (clientOf(request.raw) === undefined) done(clientClosed())
    else done()
  })
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
