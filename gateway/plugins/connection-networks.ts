/** The open connections of each network: their limit, and those that end so that other networks can connect. */

import type { Socket } from 'node:net'
import { canonicalAddress, networkOf } from '#common/network/addresses.ts'
import { connectionKey } from '#common/tls/termination.ts'
import type { Connections } from '../connections.ts'

/** @param isTrusted proxies have no network: their connections carry the requests of many clients */
export function connectionNetworks(connections: Connections, isTrusted: (address: string) => boolean) {
  /** In the order of their opening. */
  const byNetwork = new Map<string, Set<Socket>>()

  function networkOfSocket({ remoteAddress = '' }: Socket): string | undefined {
    const address = canonicalAddress(remoteAddress)
    return address === undefined || isTrusted(address) ? undefined : networkOf(address)
  }

  function largest(): Set<Socket> {
    let found = new Set<Socket>()
    for (const sockets of byNetwork.values()) if (sockets.size > found.size) found = sockets
    return found
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
     * @param count so many that the search is rare
     * @returns the oldest connections without a request of the network that has the most, but not so many that it has
     *   fewer than the network of the new connection
     */
    surplus(count: number, forSocket: Socket): Socket[] {
      const sockets = largest()
      const own = byNetwork.get(networkOfSocket(forSocket) ?? '')?.size ?? 0
      const inUse = [...connections.values()].filter(({ responses }) => responses.length > 0)
      const isInUse = new Set(inUse.map(({ socket }) => connectionKey(socket)))
      const idle = [...sockets].filter((socket) => socket !== forSocket && !isInUse.has(connectionKey(socket)))
      return idle.slice(0, Math.max(0, Math.min(count, sockets.size - own)))
    }
  }
}
