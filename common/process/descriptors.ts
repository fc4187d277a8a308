/** The limit of accepted connections: it keeps file descriptors free for ops port, engines and disk buffer. */

import type { Server, Socket } from 'node:net'
import { canonicalAddress, networkOf } from '#common/network/addresses.ts'
import { tcpEvent } from '#common/tls/termination.ts'

// For ops connections (ops-server.ts), engines, other services, the log's segments and its connections to Kafka.
const reservedDescriptors = 192
const leastConnections = 16

/** The limit of descriptors of this process; Node.js has raised the soft one to the hard one at its start. */
function descriptorLimit(): number {
  // The report would resolve the names of all peers.
  Object.assign(process.report, { excludeNetwork: true })
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft: number | string } } }
  return Number(userLimits?.open_files?.soft) || Number.POSITIVE_INFINITY
}

/** `wanted` connections, or fewer, so that the reserved descriptors stay free. */
export function affordableConnections(wanted: number, descriptors = descriptorLimit()): number {
  return Math.max(leastConnections, Math.min(wanted, descriptors - reservedDescriptors))
}

/**
 * Rejects connections above a maximum, on every address of a server (`maxConnections` counts each address apart), and above
 * a maximum of one peer: an IPv4 address, or an IPv6 /64, of which one host can have every address.
 */
export function boundConnections(server: Server, max: number, maxPerPeer = Number.POSITIVE_INFINITY): void {
  let open = 0
  const byPeer = new Map<string, number>()
  server.on(tcpEvent(server), (socket: Socket) => {
    const peer = networkOf(canonicalAddress(socket.remoteAddress ?? '') ?? '')
    const count = (byPeer.get(peer) ?? 0) + 1
    open += 1
    byPeer.set(peer, count)
    socket.once('close', () => {
      open -= 1
      const left = (byPeer.get(peer) ?? 1) - 1
      if (left > 0) byPeer.set(peer, left)
      else byPeer.delete(peer)
    })
    if (open > max || count > maxPerPeer) socket.destroy()
  })
}
