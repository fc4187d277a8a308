/** The open connections of the gateway, each with the responses that it waits for. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'

/** One open connection. */
export interface Connection {
  socket: Socket
  /** In the order of the requests. An array, because a Set with churning entries keeps old entries in memory. */
  responses: ServerResponse[]
  /** The newest request, until it has been received and answered. */
  request: IncomingMessage | undefined
  /** The time (`performance.now()`) of the last response. */
  idleSince: number
}

/** All open connections by the sockets of their requests. */
export type Connections = Map<Socket, Connection>

/** Whether the request that is arriving has its response already: the client would not expect a second one. */
export function isAnswered(connection: Connection | undefined): boolean {
  return connection?.request?.complete === false && connection.responses.length === 0
}

/** Records the connections of a server from the moment when the server accepts them. */
export function trackConnections(app: FastifyInstance): Connections {
  const connections: Connections = new Map()
  app.server.on('connection', (socket: Socket) => {
    connections.set(socket, { socket, responses: [], request: undefined, idleSince: performance.now() })
    socket.once('close', () => connections.delete(socket))
  })
  // Before the listener of Fastify, whose hooks count the responses.
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
