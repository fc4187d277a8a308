/** Rejects ambiguous requests: a proxy before the gateway could read them in another way (request smuggling). */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { endConnection, streamOf } from '../http2.ts'
import { HttpRefusal } from '../problem.ts'

// Node.js takes the first field of these names and drops the others.
const singular = new Set(['host', 'authorization', 'content-type'])

/** The error of an ambiguous header (RFC 9112, 3.2; RFC 9110, 5.3); undefined for an unambiguous one. */
function ambiguityOf(request: IncomingMessage): ConnectError | undefined {
  const { rawHeaders } = request
  const found = new Set<string>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() as string
    if (!singular.has(name)) continue
    if (found.has(name)) {
      return new ConnectError(`The header field \`${name}\` occurs more than once.`, Code.InvalidArgument)
    }
    found.add(name)
  }
  if (streamOf(request) !== undefined) return contradictionOf(request)
  // Node.js also reads a request line with HTTP/0.9 or HTTP/2.0 as HTTP/1.1.
  if (request.httpVersionMajor !== 1) {
    return new ConnectError('The version must be HTTP/1.1 or HTTP/1.0.', Code.InvalidArgument)
  }
  if (request.httpVersion === '1.1' && !found.has('host')) {
    return new ConnectError('The header field `host` is missing.', Code.InvalidArgument)
  }
  const coding = request.headers['transfer-encoding']
  // Node.js reads `gzip, chunked` as `chunked`, also in HTTP/1.0. Other servers do not (RFC 9112, 6.1).
  if (coding !== undefined && (request.httpVersion !== '1.1' || coding.toLowerCase() !== 'chunked')) {
    return new ConnectError('`Transfer-Encoding` must be `chunked`, in HTTP/1.1.', Code.InvalidArgument)
  }
  return undefined
}

/** The error of an HTTP/2 request whose two names of the host differ (RFC 9113, 8.3.1). */
function contradictionOf({ headers: { ':authority': authority, host } }: IncomingMessage): ConnectError | undefined {
  if (authority === undefined || authority === host) return undefined
  return new ConnectError('The header field `host` differs from `:authority`.', Code.InvalidArgument)
}

/** Requests with an `Expect` other than `100-continue`. */
const unexpected = new WeakSet<IncomingMessage>()

/**
 * An ambiguous HTTP/1.1 request ends its connection, with no further work. The framing of HTTP/2 is unambiguous, and its
 * parser requires `:authority` or `host`: `rejectContradictory` rejects such a request after the rate limit has counted it.
 *
 * @param maxBodyBytes the gateway rejects a larger body before it sends `100 Continue`
 */
export function rejectAmbiguous(app: FastifyInstance, maxBodyBytes: number): void {
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (Number(request.headers['content-length'] ?? 0) <= maxBodyBytes) response.writeContinue()
    app.server.emit('request', request, response)
  })
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    unexpected.add(request)
    app.server.emit('request', request, response)
  })
  app.addHook('onRequest', (request, reply, done) => {
    done(streamOf(request.raw) === undefined ? refusalOf(request, reply) : undefined)
  })
}

/** Rejects HTTP/2 requests with two values of a field that has one, and with an unknown `Expect`. */
export function rejectContradictory(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    done(streamOf(request.raw) === undefined ? undefined : refusalOf(request, reply))
  })
}

function refusalOf(request: FastifyRequest, reply: FastifyReply): Error | undefined {
  const error = unexpected.has(request.raw) ? new HttpRefusal(417) : ambiguityOf(request.raw)
  // The bytes after an ambiguous request are ambiguous too.
  if (error !== undefined) endConnection(request, reply)
  return error
}
