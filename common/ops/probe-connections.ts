/** The connections of the ops port: a client that reads nothing, or opens many connections, keeps no probe out. */

import type { RequestListener } from 'node:http'
import type { Server, Socket } from 'node:net'
import { canonicalAddress, networkOf } from '#common/network/addresses.ts'

/** A program of this machine can connect from every address of loopback. */
const isLoopback = /^127\./

function peerOf({ remoteAddress = '' }: Socket): string {
  const address = canonicalAddress(remoteAddress) ?? ''
  return isLoopback.test(address) ? 'loopback' : networkOf(address)
}

/** Above a maximum, the oldest connection of the peer with the most connections ends, and the new one is served. */
export function endOldestAbove(server: Server, max: number): void {
  let open = 0
  /** In the order of their opening. */
  const byPeer = new Map<string, Set<Socket>>()

  function release(peer: string, socket: Socket): void {
    const sockets = byPeer.get(peer)
    if (!sockets?.delete(socket)) return
    open -= 1
    if (sockets.size === 0) byPeer.delete(peer)
  }

  function endOldest(): void {
    const [peer, sockets] = [...byPeer].reduce((most, each) => (each[1].size > most[1].size ? each : most))
    const [oldest] = sockets
    release(peer, oldest as Socket)
    oldest?.destroy()
  }

  server.on('connection', (socket: Socket) => {
    const peer = peerOf(socket)
    byPeer.set(peer, (byPeer.get(peer) ?? new Set()).add(socket))
    open += 1
    socket.once('close', () => release(peer, socket))
    if (open > max) endOldest()
  })
}

/** Ends the connection of a response that is not read to its end within a time. */
export function endUnread(start: RequestListener, timeoutMs: number): RequestListener {
  return (request, response) => {
    const timer = setTimeout(() => request.socket.destroy(), timeoutMs).unref()
    response.once('close', () => clearTimeout(timer))
    start(request, response)
  }
}
