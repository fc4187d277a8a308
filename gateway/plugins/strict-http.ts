/** Refuses what HTTP leaves open to two readings, since a proxy before the gateway may read it the other way. */

import type { IncomingMessage, ServerResponse } from 'node:http'
import { Code, ConnectError } from '@connectrpc/connect'
import type { FastifyInstance } from 'fastify'
import { HttpRefusal } from '../problem.ts'

// Node.js takes the first of these and drops the others.
const singular = new Set(['host', 'authorization', 'content-type'])

/** The error of a request whose header can be read in two ways, or nothing (RFC 9112, 3.2; RFC 9110, 5.3). */
export function ambiguity(request: IncomingMessage): ConnectError | undefined {
  const { rawHeaders } = request
  const found = new Set<string>()
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() as string
    if (!singular.has(name)) continue
    if (found.has(name)) {
      return new ConnectError(`The header field \`${name}\` stands more than once.`, Code.InvalidArgument)
    }
    found.add(name)
  }
  if (request.httpVersion === '1.1' && !found.has('host')) {
    return new ConnectError('The header field `host` is missing.', Code.InvalidArgument)
  }
  const coding = request.headers['transfer-encoding']
  // Node.js reads `gzip, chunked` as `chunked`, and reads it in HTTP/1.0, where others do not (RFC 9112, 6.1).
  if (coding !== undefined && (request.httpVersion !== '1.1' || coding.toLowerCase() !== 'chunked')) {
    return new ConnectError('`Transfer-Encoding` must be `chunked`, in HTTP/1.1.', Code.InvalidArgument)
  }
  return undefined
}

const unexpected = new WeakSet<IncomingMessage>()

/** `maxBodyBytes`: a larger body is refused before the client is told to go on. */
export function refuseAmbiguous(app: FastifyInstance, maxBodyBytes: number): void {
  app.server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    if (Number(request.headers['content-length'] ?? 0) <= maxBodyBytes) response.writeContinue()
    app.server.emit('request', request, response)
  })
  app.server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    unexpected.add(request)
    app.server.emit('request', request, response)
  })
  app.addHook('onRequest', ({ raw }, reply, done) => {
    const error = unexpected.has(raw) ? new HttpRefusal(417) : ambiguity(raw)
    // What follows on the connection can be read in two ways too.
    if (error !== undefined) reply.header('connection', 'close')
    done(error)
  })
}
