/**
 * Pipelined requests of HTTP/1.1 start one after the other: Node.js starts all that arrive together, and a limit of
 * connections would bound no handlers.
 */

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// Clients of probes and RPCs do not pipeline.
const maxWaiting = 16

interface Line {
  current?: ServerResponse
  waiting: [request: IncomingMessage, response: ServerResponse][]
}

/** Starts each request of a connection after the previous response; more than 16 waiting requests end the connection. */
export function oneAtATime(start: RequestListener): RequestListener {
  const lines = new WeakMap<Socket, Line>()

  return (request, response) => {
    const { socket } = request
    const line: Line = lines.get(socket) ?? { waiting: [] }
    lines.set(socket, line)

    function startNext(): void {
      // A connection that ends assigns no further response, which would then never close.
      const call = socket.writable ? line.waiting.shift() : undefined
      if (call === undefined) return
      const [, started] = call
      line.current = started
      started.once('close', () => {
        if (line.current === started) startNext()
      })
      start(...call)
    }
    if (line.waiting.length === maxWaiting) return void socket.destroy()
    line.waiting.push([request, response])
    // A client can have a response before it closes here.
    if (line.current === undefined || line.current.closed || line.current.writableEnded) startNext()
  }
}
