/** The open connections of the gateway, and the responses that each of them waits for. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** One open connection. */
export interface Connection {
  socket: Socket
  /** In the order of the requests. (A set whose entries churn would keep many of them in memory for long.) */
  responses: ServerResponse[]
  /** Since when no response is due, as `performance.now()` counts. */
  idleSince: number
}

/** All open connections by their sockets. */
export type Connections = Map<Socket, Connection>

/** Records the connections of a server from the moment when they are accepted. */
export function trackConnections(app: FastifyInstance): Connections {
  const connections: Connections = new Map()
  app.server.on('connection', (socket: Socket) => {
    connections.set(socket, { socket, responses: [], idleSince: performance.now() })
    socket.once('close', () => connections.delete(socket))
  })
  // Before Fastify's own listener, whose hooks count the responses.
  app.server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(socket)
    if (connection === undefined) return
    const { responses } = connection
    responses.push(response)
    response.once('close', () => {
      responses.splice(responses.indexOf(response), 1)
      if (responses.length === 0) connection.idleSince = performance.now()
    })
  })
  return connections
}
