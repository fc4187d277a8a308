/** Lets a closing gateway come to its end: it waits for requests that it has, and for nothing else. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

// How long a request whose end has not arrived by then is still waited for.
const arrivalMs = 1000

declare module 'fastify' {
  interface FastifyInstance {
    /** How many requests have been accepted and not answered yet. */
    requestsUnderWay(): number
  }
}

/**
 * Fastify closes the connections that are idle when closing begins. This closes those too that become idle
 * later, that never sent anything, and that do not come to the end of their request.
 */
export function drainConnections(app: FastifyInstance): void {
  const open = new Map<Socket, Set<IncomingMessage>>()
  let closing = false
  app.decorate('requestsUnderWay', () => [...open.values()].reduce((sum, { size }) => sum + size, 0))

  app.server.on('connection', (socket: Socket) => {
    open.set(socket, new Set())
    socket.once('close', () => open.delete(socket))
  })
  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const { socket } = request
    open.get(socket)?.add(request)
    response.once('close', () => {
      open.get(socket)?.delete(request)
      if (closing && open.get(socket)?.size === 0) socket.destroySoon()
    })
  })
  function cut(isDone: (requests: IncomingMessage[]) => boolean): void {
    for (const [socket, requests] of open) if (isDone([...requests])) socket.destroy()
  }

  app.addHook('preClose', (done) => {
    closing = true
    cut((requests) => requests.length === 0)
    setTimeout(() => cut((requests) => requests.every(({ complete }) => !complete)), arrivalMs).unref()
    done()
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close')
    done()
  })
}
