/** Drains connections while the gateway closes: it finishes the requests that have arrived, and waits for nothing else. */

import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { constants } from 'node:http2'
import type { FastifyInstance } from 'fastify'
import { announceClose, announcementTime } from '#common/network/close-announcement.ts'
import { type Connection, type Connections, connectionOf, hasArrived } from '../connections.ts'
import { streamOf } from '../http2.ts'

/** How long a closing gateway waits for the rest of a request, after the announcement. */
const arrivalGraceMs = 1000

declare module 'fastify' {
  interface FastifyInstance {
    /** The number of accepted requests without a response. */
    requestsInFlight(): number
    /** Resolves when the connections of a closed gateway have ended; with TLS, they end after those of TCP. */
    connectionsClosed(): Promise<void>
  }
}

/**
 * Fastify 5 closes the connections that are idle when closing starts. This function also ends the connections that become
 * idle later, that never had a request, or whose request does not arrive. No upstream issue known. Remove when
 * `close()` of Fastify ends these too.
 *
 * An HTTP/2 session gets GOAWAY: its client sends later requests on another connection, and those that the gateway has not
 * processed again (RFC 9113, 6.8). The session ends after its last response.
 */
export function drainConnections(app: FastifyInstance, connections: Connections): void {
  let state: 'open' | 'announcing' | 'draining' = 'open'
  app.decorate('requestsInFlight', () => {
    return [...connections.values()].reduce((sum, { responses }) => sum + responses.length, 0)
  })
  app.decorate('connectionsClosed', async () => {
    for (const { socket } of connections.values()) await once(socket, 'close')
  })

  app.server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (streamOf(request) !== undefined) return
    if (state !== 'open') announceClose(response)
    response.once('close', () => {
      const isLast = connectionOf(connections, request)?.responses.length === 0
      if (state === 'draining' && isLast) request.socket.destroySoon()
    })
  })

  app.addHook('preClose', async () => {
    state = 'announcing'
    for (const connection of connections.values()) announce(connection)
    if (connections.size > 0) await announcementTime()
    state = 'draining'
    for (const connection of connections.values()) drain(connection)
    setTimeout(() => {
      for (const connection of connections.values()) abortIncomplete(connection)
    }, arrivalGraceMs).unref()
  })
}

function announce({ session, responses }: Connection): void {
  if (session !== undefined) session.close()
  else for (const response of responses) announceClose(response)
}

function drain(connection: Connection): void {
  const { socket, session, responses } = connection
  if (session === undefined && responses.length === 0) socket.destroy()
  else announce(connection)
}

/** Ends the requests that have not arrived, and drains a session that began after the others were drained. */
function abortIncomplete({ socket, session, responses }: Connection): void {
  session?.close()
  const incomplete = responses.filter(({ req }) => !hasArrived(req))
  if (session === undefined && incomplete.length === responses.length) socket.destroy()
  else for (const { req } of incomplete) streamOf(req)?.close(constants.NGHTTP2_REFUSED_STREAM)
}
