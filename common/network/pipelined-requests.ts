/**
 * Pipelined requests of HTTP/1.1 start one after the other: Node.js starts all that arrive together, and a limit of
 * connections would bound no handlers.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// Clients of probes and RPCs do not pipeline.
const maxWaiting = 16

/** Starts each request of a connection after the previous response; more than 16 waiting requests end the connection. */
export function oneAtATime(start: RequestListener): RequestListener {
  const queues = new WeakMap<Socket, [request: IncomingMessage, response: ServerResponse][]>()

  return (request, response) => {
    const { socket } = request
    const queue = queues.get(socket) ?? []
    queues.set(socket, queue)

    function startFirst(): void {
      const [call] = queue
      // A connection that ends assigns no further response, which would then never close.
      if (call === undefined || !socket.writable) return
      call[1].once('close', () => {
        queue.shift()
        startFirst()
      })
      start(...call)
    }
    if (queue.length > maxWaiting) return void socket.destroy()
    queue.push([request, response])
    if (queue.length === 1) startFirst()
  }
}
