/**
 * HTTP/1.1 on the ports of RPCs, beside HTTP/2: for curl, for the default client of Go, for gRPC-Web behind a proxy and
 * for balancers that speak HTTP/1.1 only. The first bytes of a connection decide (RFC 9113, 3.4).
 */

import http from 'node:http'
import type { Http2Server } from 'node:http2'
import type { Socket } from 'node:net'

// The preface of HTTP/2 begins with the method PRI, which is reserved for it.
const preface = Buffer.from('PRI')
// For the first bytes, and for the headers of each request.
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000

/** The requests of HTTP/1.1 at a server of HTTP/2. */
export interface Http1 {
  /** Accepted requests without an answer. */
  underWay(): number
  /** Ends the connections that have no request; others end with their answer. */
  close(): void
}

/**
 * Has a server for HTTP/2 answer HTTP/1.1 as well, by the same `request` listeners.
 *
 * @param firstBytesMs how long a connection may stay silent before its first bytes
 */
export function acceptHttp1(server: Http2Server, firstBytesMs = headersTimeoutMs): Http1 {
  const open = new Set<http.ServerResponse>()
  const http1 = http.createServer(
    { headersTimeout: headersTimeoutMs, requestTimeout: requestTimeoutMs, noDelay: true },
    (request, response) => {
      open.add(response)
      response.once('close', () => open.delete(response))
      server.emit('request', request, response)
    }
  )
  // It listens nowhere itself, and enforces its timeouts only from this event on.
  http1.emit('listening')
  const others = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    onFirstBytes(socket, firstBytesMs, (isHttp2) => {
      if (!isHttp2) http1.emit('connection', socket)
      else for (const other of others) other.call(server, socket)
    })
  })
  return {
    underWay: () => open.size,
    close() {
      http1.close()
      for (const response of open) if (!response.headersSent) response.setHeader('connection', 'close')
    }
  }
}

/** Decides by the first bytes, which remain to be read. */
function onFirstBytes(socket: Socket, withinMs: number, decided: (isHttp2: boolean) => void): void {
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
    decided(mayBeHttp2)
  }
  const onTimeout = () => socket.destroy()
  // The connection ended, or broke, before it said anything.
  const onEnd = () => socket.destroy()
  function release(): void {
    socket.off('readable', onReadable).off('timeout', onTimeout).off('end', onEnd).off('error', onEnd).setTimeout(0)
  }

  socket.setTimeout(withinMs)
  socket.on('readable', onReadable).on('timeout', onTimeout).on('end', onEnd).on('error', onEnd)
}
