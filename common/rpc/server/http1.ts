/**
 * HTTP/1.1 beside HTTP/2 on the RPC ports, for curl, Go's default client, gRPC-Web proxies and load balancers. The first
 * bytes of a connection select the protocol (RFC 9113, 3.4), with TLS its ALPN.
 */

import http from 'node:http'
import type { Http2Server } from 'node:http2'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { announceClose, announcementTime } from '#common/network/close-announcement.ts'
import { oneAtATime } from '#common/network/pipelined-requests.ts'

// The connection preface of HTTP/2 starts with the method PRI, which is reserved for it.
const preface = Buffer.from('PRI')
// For the first bytes, and for the headers of each request.
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
// Longer than callers keep an idle connection: a request on a connection that closes at this moment fails.
const keepAliveTimeoutMs = 75_000

/** The HTTP/1.1 side of an HTTP/2 server. */
interface Http1 {
  /** The number of requests without a complete response. */
  inFlight(): number
  /** Closes the connections without a request now, and the others after their response; accepts new ones. */
  closeConnections(): void
  /** Closes the connections: for a time, each response announces that; then idle connections close, and others after their response. */
  close(): Promise<void>
}

/**
 * Makes an HTTP/2 server accept HTTP/1.1 as well; its `request` listeners serve both.
 *
 * @param firstBytesMs the timeout for the first bytes of a connection
 */
export function acceptHttp1(server: Http2Server, firstBytesMs = headersTimeoutMs): Http1 {
  const open = new Map<http.ServerResponse, Socket>()
  const sockets = new Set<Socket>()
  const closing = new WeakSet<Socket>()
  let isClosing = false
  const http1 = http.createServer(
    {
      headersTimeout: headersTimeoutMs,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: keepAliveTimeoutMs,
      noDelay: true
    },
    oneAtATime((request, response) => {
      // A pipelined request gets no response.
      if (closing.has(request.socket)) return
      if (isClosing) announceClose(response)
      discardUnread(request)
      open.set(response, request.socket)
      response.once('close', () => open.delete(response))
      server.emit('request', request, response)
    })
  )
  // This server never listens; Node.js 24 starts to enforce its timeouts at this event.
  http1.emit('listening')
  const others = server.listeners('connection')
  server.removeAllListeners('connection')
  function serve(socket: Socket, isHttp2: boolean): void {
    if (isHttp2) for (const other of others) other.call(server, socket)
    else {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      http1.emit('connection', socket)
    }
  }
  server.on('connection', (socket: Socket) => {
    if (socket instanceof TLSSocket) serve(socket, socket.alpnProtocol === 'h2')
    else onFirstBytes(socket, firstBytesMs, (isHttp2) => serve(socket, isHttp2))
  })
  return {
    inFlight: () => open.size,
    closeConnections() {
      const responses = new Map([...open].map(([response, socket]) => [socket, response]))
      for (const socket of sockets) {
        closing.add(socket)
        const response = responses.get(socket)
        if (response) closeAfter(response, socket)
        else socket.destroy()
      }
    },
    async close() {
      isClosing = true
      for (const response of open.keys()) announceClose(response)
      if (sockets.size > 0) await announcementTime()
      http1.close()
      for (const response of open.keys()) announceClose(response)
    }
  }
}

function closeAfter(response: http.ServerResponse, socket: Socket): void {
  announceClose(response)
  response.once('close', () => socket.destroySoon())
}

/**
 * Reads a message to its end after its handler has read a part, such as one over the limit; `requestTimeoutMs` bounds the time.
 * connect-node 2.2 destroys such a request, and its socket stays paused: a further request of the client would wait until the
 * idle timeout. No upstream issue known. Remove when connect-node reads or closes such a connection.
 */
function discardUnread(request: http.IncomingMessage): void {
  const { socket } = request
  const destroy = request.destroy.bind(request)
  request.destroy = (error) => {
    if (request.complete || socket.destroyed) return destroy(error)
    // The iterator of a stream unsets the socket before it destroys a request.
    request.socket = socket
    return request.removeAllListeners('readable').resume()
  }
}

/** Selects the protocol by the first bytes, and puts them back. */
function onFirstBytes(socket: Socket, timeoutMs: number, onSelect: (isHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0)

  function onReadable(): void {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    seen = Buffer.concat([seen, chunk])
    const compared = Math.min(seen.length, preface.length)
    const mayBeHttp2 = preface.subarray(0, compared).equals(seen.subarray(0, compared))
    if (mayBeHttp2 && seen.length < preface.length) return
    release()
    socket.unshift(seen)
    onSelect(mayBeHttp2)
  }
  const destroy = () => socket.destroy()
  function release(): void {
    socket.off('readable', onReadable).off('timeout', destroy).off('end', destroy).off('error', destroy).setTimeout(0)
  }

  socket.setTimeout(timeoutMs)
  socket.on('readable', onReadable).on('timeout', destroy).on('end', destroy).on('error', destroy)
}
