/** The streams and connections of an RPC server: who answers them, how many are open, and how they end. */

import type { Http2Server, Http2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import type { Socket } from 'node:net'

/** Has a function answer a stream, or pass it on to the present listeners, which create a request for it. */
export function answerFirst(
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
 * Destroys a connection that the server has ended and its peer has not. A client that leaves a response unread keeps its
 * side open for ever, and with it the closing of the server.
 */
export function boundLinger(server: Http2Server): void {
  server.on('connection', (socket: Socket) => {
    socket.once('finish', () => {
      const timer = setTimeout(() => socket.destroy(), lingerMs)
      socket.once('close', () => clearTimeout(timer))
    })
  })
}

// Long enough for the answer to leave, which goes out behind the end of the stream.
const unreadMs = 200

/**
 * A message that is refused is not read to its end. Its stream would stay open for ever, and with it the
 * session and the closing of the server, so it is cut off once it has been answered (RFC 9113, 8.1).
 */
export function cutUnread(stream: ServerHttp2Stream): void {
  stream.once('finish', () => {
    if (stream.readableEnded) return
    const timer = setTimeout(() => stream.destroy(), unreadMs)
    stream.once('close', () => clearTimeout(timer))
  })
}

/** HTTP/2 sessions stay open when idle, so a closing server says GOAWAY to each and waits for its streams only. */
export function closeSessions(
  app: { server: { on(event: 'session', listener: (session: Http2Session) => void): unknown } } & {
    addHook(name: 'preClose', hook: (done: () => void) => void): unknown
  }
): void {
  const open = new Set<Http2Session>()
  app.server.on('session', (session) => {
    open.add(session)
    session.once('close', () => open.delete(session))
  })
  app.addHook('preClose', (done) => {
    for (const session of open) if (!session.closed && !session.destroyed) session.close()
    done()
  })
}
