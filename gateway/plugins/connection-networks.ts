/** The open connections of each network: their limit, and those that end so that other networks can connect. */

import type { Socket } from 'node:net'
import { canonicalAddress, networkOf } from '#common/network/addresses.ts'
import { connectionKey } from '#common/tls/termination.ts'
import { type Connections, hasArrived } from '../connections.ts'

/** @param isTrusted proxies have no network: their connections carry the requests of many clients */
export function connectionNetworks(connections: Connections, isTrusted: (address: string) => boolean) {
  /** In the order of their opening. */
  const byNetwork = new Map<string, Set<Socket>>()

  function networkOfSocket({ remoteAddress = '' }: Socket): string | undefined {
    const address = canonicalAddress(remoteAddress)
    return address === undefined || isTrusted(address) ? undefined : networkOf(address)
  }

  /** The connections whose requests have arrived, and those that wait for the end of their only request; others are idle. */
  function connectionsInUse() {
    const served = new Set<string>()
    const arriving = new Set<string>()
    for (const { socket, request, responses } of connections.values()) {
      if (responses.length === 0) continue
      const isArriving = responses.length === 1 && request !== undefined && !hasArrived(request)
      const keys = isArriving ? arriving : served
      keys.add(connectionKey(socket))
    }
    return { served, arriving }
  }

  return {
    /** Counts a connection until it closes. @returns the open connections of its network */
    add(socket: Socket): number {
      const network = networkOfSocket(socket)
      if (network === undefined) return 0
      const sockets = byNetwork.get(network) ?? new Set()
      byNetwork.set(network, sockets.add(socket))
      socket.once('close', () => {
        sockets.delete(socket)
        if (sockets.size === 0) byNetwork.delete(network)
      })
      return sockets.size
    },

    /**
     * Of the networks with more connections than that of the new one, from the largest on, the first that has connections
     * without a complete request: the oldest idle ones, or else the oldest that wait for a request. If all connections are
     * in use, the oldest of the largest network. Never so many that a network has fewer than that of the new connection.
     *
     * @param count so many that the search is rare
     */
    surplus(count: number, forSocket: Socket): Socket[] {
      const own = byNetwork.get(networkOfSocket(forSocket) ?? '')?.size ?? 0
      const larger = [...byNetwork.values()].filter(({ size }) => size > own).sort((a, b) => b.size - a.size)
      const [largest] = larger
      if (largest === undefined) return []
      const { served, arriving } = connectionsInUse()
      const oldest = (sockets: Iterable<Socket>, size: number) => [...sockets].slice(0, Math.min(count, size - own))
      for (const sockets of larger) {
        const unserved = [...sockets].filter((socket) => !served.has(connectionKey(socket)))
        const idle = unserved.filter((socket) => !arriving.has(connectionKey(socket)))
        if (unserved.length > 0) return oldest(idle.length > 0 ? idle : unserved, sockets.size)
      }
      return oldest(largest, largest.size)
    }
  }
}
