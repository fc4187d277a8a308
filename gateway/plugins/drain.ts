/** Drains connections while the gateway closes: it finishes the requests that have arrived, and waits for nothing else. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { FastifyInstance } from 'fastify'
import type { Connection, Connections } from '../connections.ts'

/** How long a closing gateway waits for the rest of a request. */
const arrivalGraceMs = 1000

declare module 'fastify' {
  interface FastifyInstance {
    /** The number of accepted requests without a response. */
    requestsInFlight(): number
  }
}

/**
 * Fastify 5 closes the connections that are idle when closing starts. This function also ends the connections that become
 * idle later, that never had a request, or whose request does not arrive. No upstream issue known. Remove when
 * `close()` of Fastify ends these too.
 */
export function drainConnections(app: FastifyInstance, connections: Connections): void {
  let closing = false
  app.decorate('requestsInFlight', () => {
    return [...connections.values()].reduce((sum, { responses }) => sum + responses.length, 0)
  })

  app.server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    if (closing) announceClose(response)
    response.once('close', () => {
      if (closing && connections.get(socket)?.responses.length === 0) socket.destroySoon()
    })
  })
  function destroyWhere(isDone: (connection: Connection) => boolean): void {
    for (const connection of connections.values()) if (isDone(connection)) connection.socket.destroy()
  }

  app.addHook('preClose', (done) => {
    closing = true
    for (const { responses } of connections.values()) for (const response of responses) announceClose(response)
    destroyWhere(({ responses }) => responses.length === 0)
    const destroyIncomplete = () => destroyWhere(({ responses }) => responses.every(({ req }) => !req.complete))
    setTimeout(destroyIncomplete, arrivalGraceMs).unref()
    done()
  })
}

/** The connection ends after this response. */
function announceClose(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close')
}
