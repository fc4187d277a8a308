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
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    done(unexpected.has(raw) ? new HttpRefusal(417) : ambiguity(raw))
  })
}
