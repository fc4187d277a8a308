/** The open connections of the gateway, and the responses that each of them waits for. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** One open connection. */
export interface Connection {
  socket: Socket
  /** In the order of the requests. (A set whose entries churn would keep many of them in memory for long.) */
  responses: ServerResponse[]
  /** The newest request, until it has been received and answered. */
  request: IncomingMessage | undefined
  /** Since when no response is due, as `performance.now()` counts. */
  idleSince: number
}

/** All open connections by their sockets. */
export type Connections = Map<Socket, Connection>

/** Whether the request that is being received has been answered already: a second response would answer no request. */
export function isAnswered(connection: Connection | undefined): boolean {
  return connection?.request?.complete === false && connection.responses.length === 0
}

/** Records the connections of a server from the moment when they are accepted. */
export function trackConnections(app: FastifyInstance): Connections {
  const connections: Connections = new Map()
  app.server.on('connection', (socket: Socket) => {
    connections.set(socket, { socket, responses: [], request: undefined, idleSince: performance.now() })
    socket.once('close', () => connections.delete(socket))
  })
  // Before Fastify's own listener, whose hooks count the responses.
  app.server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const connection = connections.get(request.socket)
    if (connection === undefined) return
    const { responses } = connection
    connection.request = request
    responses.push(response)
    response.once('close', () => {
      responses.splice(responses.indexOf(response), 1)
      if (responses.length > 0) return
      connection.idleSince = performance.now()
      if (connection.request?.complete) connection.request = undefined
    })
  })
  return connections
}
