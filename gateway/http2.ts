/**
 * HTTP/2 beside HTTP/1.1 on the REST port with TLS, by ALPN. The listeners of the HTTP/1.1 server and the hooks of Fastify
 * serve the requests of both.
 */

import { type IncomingMessage, METHODS, type Server, type ServerResponse } from 'node:http'
import {
  createServer,
  type Http2Server,
  type Http2Session,
  type ServerHttp2Session,
  type ServerHttp2Stream
} from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { Code } from '@connectrpc/connect'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { errorMeaning } from '#common/errors/codes.ts'
import { canonicalAddress } from '#common/network/addresses.ts'
import { unlimitedResets } from '#common/rpc/server/misbehaving-peers.ts'
import { handleStreamsFirst, limitLinger } from '#common/rpc/server/streams.ts'
import { clientClosed } from './problem.ts'

export interface Http2Options {
  /** Requests in progress of one connection. */
  maxStreams: number
  /** A proxy resets as many streams as its clients disconnect: it has no budget of resets. */
  isTrusted: (address: string) => boolean
  onSession: (session: ServerHttp2Session, socket: Socket) => void
  /** Answers a request that no route can get, such as one with an unknown method. */
  answerMalformed: (response: ServerResponse) => void
}

// That of HTTP/1.1 in Node.js.
const maxHeaderBytes = 16 * 1024

/** The HTTP/2 stream of a request or response; undefined for HTTP/1.1. */
export function streamOf(message: IncomingMessage | ServerResponse): ServerHttp2Stream | undefined {
  return (message as { stream?: ServerHttp2Stream }).stream
}

/** Their sessions carry the requests of many clients. */
const sessionsOfProxies = new WeakSet<Http2Session>()

/** The client needs another connection for its next request. Sessions of trusted proxies continue. */
function endAfterResponse({ session }: ServerHttp2Stream): void {
  if (session && !session.destroyed && !sessionsOfProxies.has(session)) session.close()
}

/** Ends the connection of a refused request after its response, by either protocol. */
export function endConnection({ raw }: FastifyRequest, reply: FastifyReply): void {
  const stream = streamOf(raw)
  if (stream === undefined) reply.header('connection', 'close')
  else endAfterResponse(stream)
}

/** Makes a server whose connections are TLS sockets serve those that have negotiated `h2`. */
export function acceptHttp2(app: FastifyInstance, options: Http2Options): void {
  const { server } = app
  const { maxStreams, isTrusted, onSession } = options
  const settings = { maxConcurrentStreams: maxStreams, maxHeaderListSize: maxHeaderBytes }
  // Node.js limits the resets of a connection ("rapid reset", CVE-2023-44487).
  const clients = createHttp2Server(server, { settings }, options)
  const proxies = createHttp2Server(server, { settings, ...unlimitedResets }, options)
  const [serveHttp1] = server.listeners('connection') as [(this: Server, socket: Socket) => void]
  server.off('connection', serveHttp1)
  server.on('connection', (socket: TLSSocket) => {
    if (socket.alpnProtocol !== 'h2') return serveHttp1.call(server, socket)
    const address = canonicalAddress(socket.remoteAddress ?? '')
    const isProxy = address !== undefined && isTrusted(address)
    const http2 = isProxy ? proxies : clients
    http2.once('session', (session) => {
      if (isProxy) sessionsOfProxies.add(session)
      onSession(session, socket)
    })
    http2.emit('connection', socket)
  })
  app.addHook('preValidation', ({ raw }, _reply, done) => {
    const stream = streamOf(raw)
    // The body of a stream that was reset ends like a complete one.
    done(stream && (raw.errored ?? (stream.closed ? clientClosed() : undefined)))
  })
  app.addHook('onSend', ({ raw }, reply, payload, done) => {
    if (streamOf(raw) !== undefined) reply.removeHeader('connection')
    done(null, payload)
  })
}

/** An HTTP/2 server that never listens, and passes its requests on. */
function createHttp2Server(
  server: Server,
  settings: Parameters<typeof createServer>[0],
  { answerMalformed }: Pick<Http2Options, 'answerMalformed'>
): Http2Server {
  const http2 = createServer(settings as object)
  for (const event of ['request', 'checkContinue', 'checkExpectation'] as const) {
    http2.on(event, (...messages: unknown[]) => {
      const [request, response] = messages as [IncomingMessage, ServerResponse]
      if (!METHODS.includes(request.method as string)) {
        endAfterResponse(streamOf(request) as ServerHttp2Stream)
        return answerMalformed(response)
      }
      presentAsHttp1(request, response)
      server.emit(event, request, response)
    })
  }
  // As with HTTP/1.1, there is no tunnel and no response.
  http2.on('connect', (_request, { stream }) => {
    endAfterResponse(stream)
    stream.destroy()
  })
  handleStreamsFirst(http2, (stream) => {
    // Without a listener, the error of a stream that has ended would end the process.
    stream.on('error', () => {})
    return stream.destroyed
  })
  limitLinger(http2)
  return http2
}

/** Adds the properties that the HTTP/1.1 parser provides to a request and its response, for Fastify and hooks. */
function presentAsHttp1(request: IncomingMessage, response: ServerResponse): void {
  const { headers } = request
  const stream = streamOf(request) as ServerHttp2Stream
  if (headers.host === undefined) headers.host = String(headers[':authority'])
  // A body of unknown length.
  if (headers['content-length'] === undefined && !stream.endAfterHeaders) headers['transfer-encoding'] = 'chunked'
  request.on('error', () => {})
  stream.prependOnceListener('close', () => {
    // Fastify then runs `onResponse`.
    if (!stream.headersSent) response.statusCode = errorMeaning(Code.Canceled).status
  })
}
