/** The HTTP/2 streams and connections of an RPC server: their handlers, their number, and their end. */

import type { Http2Server, Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'

/** Offers each stream to `answer` first; a stream that it does not answer goes to the present listeners, as a request. */
export function handleStreamsFirst(
  server: Http2Server,
  answer: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => boolean
): void {
  const others = server.listeners('stream')
  server.removeAllListeners('stream')
  server.on('stream', (stream, headers, ...more) => {
    if (answer(stream, headers)) return
    for (const other of others) other.call(server, stream, headers, ...more)
  })
}

/** @returns the number of streams that are open */
export function countStreams(server: Http2Server): () => number {
  let open = 0
  server.on('stream', (stream) => {
    open += 1
    stream.once('close', () => {
      open -= 1
    })
  })
  return () => open
}

// For the peer to close its side of a connection.
const lingerMs = 500

/**
 * Destroys a connection that the server has ended and its peer has not: a client that never reads a response would keep
 * `close()` of the server waiting for ever.
 */
export function limitLinger(server: Http2Server): void {
  server.on('connection', (socket: Socket) => {
    socket.once('finish', () => {
      const timer = setTimeout(() => socket.destroy(), lingerMs)
      socket.once('close', () => clearTimeout(timer))
    })
  })
}

// For the response to be sent.
const unreadMs = 200

/**
 * Destroys the stream of a rejected message after its response (RFC 9113, 8.1). connect-fastify 2.2 does not read such a
 * message to its end, so the stream would keep its session and `close()` of the server waiting for ever. No upstream issue
 * known. Remove when connect-fastify ends the stream itself.
 */
export function endUnreadRequest(stream: ServerHttp2Stream): void {
  stream.once('finish', () => {
    if (stream.readableEnded) return
    const timer = setTimeout(() => stream.destroy(), unreadMs)
    stream.once('close', () => clearTimeout(timer))
  })
}

/**
 * Sends GOAWAY on each session when the server closes, so that it waits for streams, but not for idle sessions.
 *
 * @returns a function that closes the sessions but not the server, so that clients connect again
 */
export function closeSessions(
  app: { server: { on(event: 'session', listener: (session: Http2Session) => void): unknown } } & {
    addHook(name: 'preClose', hook: (done: () => void) => void): unknown
  }
): () => void {
  const open = new Set<Http2Session>()
  app.server.on('session', (session) => {
    open.add(session)
    session.once('close', () => open.delete(session))
  })
  function closeAll(): void {
    for (const session of open) if (!session.closed && !session.destroyed) session.close()
  }
  app.addHook('preClose', (done) => {
    closeAll()
    done()
  })
  return closeAll
}
