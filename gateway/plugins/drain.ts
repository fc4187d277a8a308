/** Lets a closing gateway come to its end: it waits for requests that it has, and for nothing else. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Connection, Connections } from '../connections.ts'

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
export function drainConnections(app: FastifyInstance, connections: Connections): void {
  let closing = false
  app.decorate('requestsUnderWay', () => {
    return [...connections.values()].reduce((sum, { responses }) => sum + responses.length, 0)
  })

  app.server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    if (closing) sayLast(response)
    response.once('close', () => {
      if (closing && connections.get(socket)?.responses.length === 0) socket.destroySoon()
    })
  })
  function cut(isDone: (connection: Connection) => boolean): void {
    for (const connection of connections.values()) if (isDone(connection)) connection.socket.destroy()
  }

  app.addHook('preClose', (done) => {
    closing = true
    for (const { responses } of connections.values()) for (const response of responses) sayLast(response)
    cut(({ responses }) => responses.length === 0)
    setTimeout(() => cut(({ responses }) => responses.every(({ req }) => !req.complete)), arrivalMs).unref()
    done()
  })
}

/** Tells the client that the connection ends with this answer. */
function sayLast(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
