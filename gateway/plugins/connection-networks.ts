/** The open connections of each network: their limit, and those that end so that other networks can connect. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { canonicalAddress, fairNetworkOf, networkOf } from '#common/network/addresses.ts'
import { tcpSocketOf } from '#common/tls/termination.ts'
import { type Connection, type Connections, connectionOf, hasArrived } from '../connections.ts'

/** The open connections of an IPv4 address, or of an IPv6 /48, which share their places. */
interface FairNetwork {
  /** In the order of their opening. */
  open: Set<Member>
  /** In the order of their last response. */
  idle: Set<Member>
  /** With one request, in the order of its header; those that have received it to its end are removed by the next search. */
  arriving: Set<Member>
}

interface Member {
  socket: Socket
  /** An IPv4 address, or an IPv6 /64. */
  network: string
  fairNetwork: FairNetwork
  /** From its first request on. */
  connection?: Connection
}

/** @param isTrusted proxies have no network: their connections carry the requests of many clients */
export function connectionNetworks(
  app: FastifyInstance,
  connections: Connections,
  isTrusted: (address: string) => boolean
) {
  const members = new Map<Socket, Member>()
  const counts = new Map<string, number>()
  const fairNetworks = new Map<string, FairNetwork>()

  function networkOfSocket({ remoteAddress = '' }: Socket): string | undefined {
    const address = canonicalAddress(remoteAddress)
    return address === undefined || isTrusted(address) ? undefined : networkOf(address)
  }

  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const connection = connectionOf(connections, request)
    if (connection === undefined) return
    const member = members.get(tcpSocketOf(connection.socket))
    if (member === undefined) return
    member.connection = connection
    updateState(member)
    response.once('close', () => updateState(member))
  })

  return {
    /** Counts a connection until `delete`. @returns the open connections of its network */
    add(socket: Socket): number {
      const network = networkOfSocket(socket)
      if (network === undefined) return 0
      const key = fairNetworkOf(network)
      const fairNetwork = fairNetworks.get(key) ?? { open: new Set(), idle: new Set(), arriving: new Set() }
      const member = { socket, network, fairNetwork }
      const count = (counts.get(network) ?? 0) + 1
      members.set(socket, member)
      counts.set(network, count)
      fairNetworks.set(key, fairNetwork)
      fairNetwork.open.add(member)
      fairNetwork.idle.add(member)
      return count
    },

    /** Has no effect on a connection that does not count any more. */
    delete(socket: Socket): void {
      const member = members.get(socket)
      if (member === undefined) return
      const { network, fairNetwork } = member
      members.delete(socket)
      for (const set of Object.values(fairNetwork)) set.delete(member)
      if (fairNetwork.open.size === 0) fairNetworks.delete(fairNetworkOf(network))
      const left = (counts.get(network) ?? 1) - 1
      if (left > 0) counts.set(network, left)
      else counts.delete(network)
    },

    /**
     * The connections that end, so that a new connection can stay. Only networks with more connections than that of the new
     * one give any. The largest with an idle connection, or with a request that has not arrived completely, gives its idle
     * connections: so many that the search is rare, while it keeps as many as the network of the new one has. Without an
     * idle connection, it gives the one whose incomplete request began first. If all requests are in progress, the largest network
     * gives its oldest connection.
     *
     * @param maxIdle the largest number of idle connections
     */
    surplus(maxIdle: number, forSocket: Socket): Socket[] {
      const own = members.get(forSocket)?.fairNetwork.open.size ?? 0
      let largest: FairNetwork | undefined
      let spare: FairNetwork | undefined
      for (const each of fairNetworks.values()) {
        const { size } = each.open
        if (size > (largest?.open.size ?? own)) largest = each
        if (size > (spare?.open.size ?? own) && (each.idle.size > 0 || oldestArriving(each) !== undefined)) spare = each
      }
      const found = spare && [...spare.idle].slice(0, Math.min(maxIdle, spare.open.size - own))
      if (found !== undefined && found.length > 0) return found.map(({ socket }) => socket)
      const oldest = spare ? oldestArriving(spare) : largest?.open.values().next().value
      return oldest === undefined ? [] : [oldest.socket]
    }
  }
}

function updateState(member: Member): void {
  const { connection, fairNetwork } = member
  fairNetwork.idle.delete(member)
  fairNetwork.arriving.delete(member)
  if (!fairNetwork.open.has(member)) return
  const { length } = connection?.responses ?? []
  if (length === 0) fairNetwork.idle.add(member)
  if (length === 1) fairNetwork.arriving.add(member)
}

function oldestArriving({ arriving }: FairNetwork): Member | undefined {
  for (const member of arriving) {
    const { request } = member.connection ?? {}
    if (request !== undefined && !hasArrived(request)) return member
    arriving.delete(member)
  }
  return undefined
}
