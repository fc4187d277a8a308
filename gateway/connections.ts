/** The open connections of the gateway, each with the responses that it waits for. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants, type Http2Session, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { FastifyInstance } from 'fastify'
import { streamOf } from './http2.ts'

/** One open connection. */
export interface Connection {
  socket: Socket
  /** Of HTTP/2. */
  session?: ServerHttp2Session
  /** In the order of the requests. An array, because a Set with churning entries keeps old entries in memory. */
  responses: ServerResponse[]
  /** The newest request, until it has been received and answered. */
  request: IncomingMessage | undefined
  /** Whether it has had a request. */
  isUsed: boolean
  /** The time (`performance.now()`) of the last response. */
  idleSince: number
}

/** All open connections by their sockets, TLS sockets with TLS. */
export type Connections = Map<Socket, Connection>

const bySession = new WeakMap<Http2Session, Connection>()

/** The connection of a request: the socket of an HTTP/2 request is a proxy of its own. */
export function connectionOf(connections: Connections, request: IncomingMessage): Connection | undefined {
  const stream = streamOf(request)
  if (stream === undefined) return connections.get(request.socket)
  return stream.session && bySession.get(stream.session)
}

/** Records that a connection is one of HTTP/2. */
export function setSession(connections: Connections, socket: Socket, session: ServerHttp2Session): void {
  const connection = connections.get(socket)
  if (connection === undefined) return
  connection.session = session
  bySession.set(session, connection)
}

const { NGHTTP2_STREAM_STATE_OPEN: open, NGHTTP2_STREAM_STATE_HALF_CLOSED_LOCAL: halfClosedLocal } = constants

/** Whether a request has arrived to its end. */
export function hasArrived(request: IncomingMessage): boolean {
  const stream = streamOf(request)
  return stream === undefined ? request.complete : ![open, halfClosedLocal].includes(stream.state.state as number)
}

/** Whether the request that is arriving has its response already: the client would not expect a second one. */
export function isAnswered(connection: Connection | undefined): boolean {
  return connection?.request?.complete === false && connection.responses.length === 0
}

/** Records the connections of a server from the moment when the server accepts them. */
export function trackConnections(app: FastifyInstance): Connections {
  const connections: Connections = new Map()
  app.server.on('connection', (socket: Socket) => {
    connections.set(socket, { socket, responses: [], request: undefined, isUsed: false, idleSince: performance.now() })
    socket.once('close', () => connections.delete(socket))
  })
  // Before the listener of Fastify, whose hooks count the responses.
  app.server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const connection = connectionOf(connections, request)
    if (connection === undefined) return
    const { responses } = connection
    connection.request = request
    connection.isUsed = true
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
